// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_NSENUMERATOR_H
#define ORTMILL_SURFACE_NSENUMERATOR_H

#include <Foundation/NSObject.h>

/// Documentation: Foundation > NSFastEnumerationState
/// Availability: macOS 10.0
typedef struct {
  unsigned long state;
  id __unsafe_unretained _Nullable *_Nullable itemsPtr;
  unsigned long *_Nullable mutationsPtr;
  unsigned long extra[5];
} NSFastEnumerationState API_AVAILABLE(macos(10.0));

/// Documentation: Foundation > NSFastEnumeration
/// Availability: macOS 10.0
API_AVAILABLE(macos(10.0))
@protocol NSFastEnumeration

/// Documentation: Foundation > NSFastEnumeration > countByEnumeratingWithState:objects:count:
/// Availability: macOS 10.0
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *_Nonnull)state
                                  objects:(id __unsafe_unretained _Nullable[_Nonnull])buffer
                                    count:(NSUInteger)len API_AVAILABLE(macos(10.0));

@end

#endif
