/* What mmsg.py calls of the C library: `make calls` makes calls.py of it. */
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr {
    void *msg_name; unsigned msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
    void *msg_control; size_t msg_controllen; int msg_flags;
};
struct mmsghdr { struct msghdr msg_hdr; unsigned msg_len; };
int recvmmsg(int, struct mmsghdr *, unsigned, int, void *);
int sendmmsg(int, struct mmsghdr *, unsigned, int);
int malloc_trim(size_t);
