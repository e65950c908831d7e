// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_CFBASE_H
#define ORTMILL_SURFACE_CFBASE_H

#include <MacTypes.h>
#include <os/availability.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Documentation: Core Foundation > CFTypeRef
/// Availability: macOS 10.0
typedef const void *CFTypeRef API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFIndex
/// Availability: macOS 10.0
typedef long CFIndex API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFString > CFStringRef
/// Availability: macOS 10.0
typedef const struct __CFString *CFStringRef API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFRelease
/// Availability: macOS 10.0
extern void CFRelease(CFTypeRef cf) API_AVAILABLE(macos(10.0));

#ifdef __cplusplus
}
#endif

#endif
