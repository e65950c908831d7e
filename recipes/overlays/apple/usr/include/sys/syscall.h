// Part of ortmill's Apple surface: see README.md.
//
// core/platform/posix/env.cc includes <sys/syscall.h> on every POSIX system and uses nothing of it on
// macOS: syscall(SYS_gettid) stands in its Linux-only branches. So the header is empty on purpose.
#ifndef ORTMILL_SURFACE_SYS_SYSCALL_H
#define ORTMILL_SURFACE_SYS_SYSCALL_H
#endif
