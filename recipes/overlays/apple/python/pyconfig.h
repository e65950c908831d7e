// ortmill's pyconfig.h for CPython 3.11 on arm64 macOS: see ../README.md.
//
// CPython's build writes this header on the machine it is built for, so a cross build cannot take the
// host's. Here stand only the macros that the public headers of CPython 3.11 consult (Python.h and
// cpython/*, not internal/*), with the header that does. The sizes are the target's; a test compiles
// Python.h for the target and asserts each of them against sizeof.
//
// pymacconfig.h, which Python.h includes after this file, sets SIZEOF_LONG, SIZEOF_SIZE_T and
// SIZEOF_VOID_P again from __LP64__, with the same values.
#ifndef Py_PYCONFIG_H
#define Py_PYCONFIG_H

// longobject.h: conversions between Python's and C's integers.
#define SIZEOF_INT 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_PID_T 4

// pyport.h and longobject.h.
#define SIZEOF_LONG 8

// pyport.h.
#define SIZEOF_SIZE_T 8

// pyhash.h, pyport.h, longobject.h, cpython/objimpl.h.
#define SIZEOF_VOID_P 8

// unicodeobject.h: the width of Py_UNICODE.
#define SIZEOF_WCHAR_T 4
#define HAVE_WCHAR_H 1

// pyport.h: ssize_t and the system headers it includes.
#define HAVE_SSIZE_T 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TIME_H 1

// cpython/pytime.h.
#define HAVE_CLOCK_GETTIME 1
#define HAVE_KQUEUE 1

// intrcheck.h and cpython/pythread.h.
#define HAVE_FORK 1

// cpython/pythread.h.
#define HAVE_PTHREAD_H 1

// pymacro.h.
#define WITH_DOC_STRINGS 1

// objimpl.h and cpython/pymem.h.
#define WITH_PYMALLOC 1

// Consulted as well, and left undefined on this platform:
//   cpython/longintrepr.h and pyport.h  PYLONG_BITS_IN_DIGIT (pyport.h then takes 30)
//   cpython/object.h, modsupport.h, object.h, pyport.h  Py_TRACE_REFS
//   cpython/pthread_stubs.h, cpython/pythread.h  HAVE_PTHREAD_STUBS
//   object.h, objimpl.h, pyhash.h, pymacro.h, pymem.h, pyport.h  Py_DEBUG
//   py_curses.h  HAVE_CURSES_IS_PAD, HAVE_NCURSES_H, MVWDELCH_IS_EXPRESSION, WINDOW_HAS_FLAGS,
//                _XOPEN_SOURCE_EXTENDED (the header is not part of Python.h)
//   pydtrace.h  WITH_DTRACE (the header is not part of Python.h)
//   pyhash.h  HAVE_ALIGNED_REQUIRED, Py_HASH_ALGORITHM
//   pyport.h  ALT_SOABI, HAVE_IEEEFP_H, HAVE_SYS_TERMIO_H, HAVE__GETPTY, PY_FORMAT_SIZE_T,
//             Py_ENABLE_SHARED, SIGNED_RIGHT_SHIFT_ZERO_FILLS
//   pythread.h  _POSIX_THREADS (the system's unistd.h sets it)
//   unicodeobject.h  HAVE_USABLE_WCHAR_T (wchar_t is signed here)

#endif
