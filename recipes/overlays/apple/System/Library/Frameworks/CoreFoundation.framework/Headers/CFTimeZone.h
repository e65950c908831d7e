// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_CFTIMEZONE_H
#define ORTMILL_SURFACE_CFTIMEZONE_H

#include <CoreFoundation/CFBase.h>
#include <CoreFoundation/CFString.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Documentation: Core Foundation > CFTimeZone > CFTimeZoneRef
/// Availability: macOS 10.0
typedef const struct __CFTimeZone *CFTimeZoneRef API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFTimeZone > CFTimeZoneCopyDefault
/// Availability: macOS 10.0
extern CFTimeZoneRef CFTimeZoneCopyDefault(void) API_AVAILABLE(macos(10.0));

/// Documentation: Core Foundation > CFTimeZone > CFTimeZoneGetName
/// Availability: macOS 10.0
extern CFStringRef CFTimeZoneGetName(CFTimeZoneRef tz) API_AVAILABLE(macos(10.0));

#ifdef __cplusplus
}
#endif

#endif
