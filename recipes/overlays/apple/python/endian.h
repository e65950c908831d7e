// Part of ortmill's Apple surface: see ../README.md.
//
// A numpy wheel for Linux says in numpy/_numpyconfig.h that the system has <endian.h>, and
// numpy/npy_endian.h then includes it. macOS has <machine/endian.h> instead, with the same names. The
// header stands here, and not in usr/include, so that only the Python extension sees it.
// (numpy/numpyconfig.h itself corrects the one size that differs, long double, under __APPLE__.)
#ifndef ORTMILL_SURFACE_ENDIAN_H
#define ORTMILL_SURFACE_ENDIAN_H

#include <machine/endian.h>

#endif
