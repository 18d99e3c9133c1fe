/*
 * Linked into the static executable where the C library is glibc, and nowhere else.
 *
 * glibc looks host names up by whatever /etc/nsswitch.conf lists, and loads a library of the machine's for each entry
 * that it doesn't have itself. A static executable carries its own glibc, and a library made for another one must not
 * be loaded into it. "files" (/etc/hosts) and "dns" (/etc/resolv.conf) are built in, so look there and nowhere else,
 * as the Go and musl worlds do.
 */
#include <nss.h>

__attribute__((constructor)) static void look_in_hosts_and_dns(void) {
    __nss_configure_lookup("hosts", "files dns");
}
