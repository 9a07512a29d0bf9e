// The thread functions by the names that every glibc since Node's oldest (2.28) has. A build against glibc 2.34 or
// later, where they moved into libc.so.6 under a new version, would else not load on the older ones.
#ifndef CZ_GLIBC_H
#define CZ_GLIBC_H

#include <features.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
#if defined(__x86_64__)
#define CZ_GLIBC_BASE "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define CZ_GLIBC_BASE "GLIBC_2.17"
#endif
#endif

#ifdef CZ_GLIBC_BASE
__asm__(".symver pthread_create,pthread_create@" CZ_GLIBC_BASE);
__asm__(".symver pthread_attr_setstacksize,pthread_attr_setstacksize@" CZ_GLIBC_BASE);
__asm__(".symver pthread_join,pthread_join@" CZ_GLIBC_BASE);
#endif

#endif
