/* The addresses of a name as the C library finds them, one on a line, in its order; or why there are none. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints, *found, *at;
    char text[64];
    memset(&hints, 0, sizeof hints);
    hints.ai_family = argc > 2 ? AF_INET : AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    int error = getaddrinfo(argv[1], NULL, &hints, &found);
    if (error) {
        printf("error: %s\n", gai_strerror(error));
        return 1;
    }
    for (at = found; at; at = at->ai_next) {
        const void *address = at->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
                                                       : (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
        puts(inet_ntop(at->ai_family, address, text, sizeof text));
    }
    return 0;
}
