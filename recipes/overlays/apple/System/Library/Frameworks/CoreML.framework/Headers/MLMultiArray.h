// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLMULTIARRAY_H
#define ORTMILL_SURFACE_MLMULTIARRAY_H

#include <Foundation/Foundation.h>

/// Documentation: Core ML > MLMultiArrayDataType
/// Availability: macOS 10.13
typedef enum MLMultiArrayDataType : NSInteger {
  /// Documentation: Core ML > MLMultiArrayDataType > MLMultiArrayDataTypeFloat32
  /// Availability: macOS 10.13
  MLMultiArrayDataTypeFloat32 API_AVAILABLE(macos(10.13)) = 0x10000 | 32,
  /// Documentation: Core ML > MLMultiArrayDataType > MLMultiArrayDataTypeFloat16
  /// Availability: macOS 12.0
  MLMultiArrayDataTypeFloat16 API_AVAILABLE(macos(12.0)) = 0x10000 | 16,
  /// Documentation: Core ML > MLMultiArrayDataType > MLMultiArrayDataTypeInt32
  /// Availability: macOS 10.13
  MLMultiArrayDataTypeInt32 API_AVAILABLE(macos(10.13)) = 0x20000 | 32,
} MLMultiArrayDataType API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray
/// Availability: macOS 10.13
API_AVAILABLE(macos(10.13))
@interface MLMultiArray : NSObject

/// Documentation: Core ML > MLMultiArray > initWithDataPointer:shape:dataType:strides:deallocator:error:
/// Availability: macOS 10.13
- (instancetype _Nullable)initWithDataPointer:(void *_Nonnull)dataPointer
                                        shape:(NSArray<NSNumber *> *_Nonnull)shape
                                     dataType:(MLMultiArrayDataType)dataType
                                      strides:(NSArray<NSNumber *> *_Nonnull)strides
                                  deallocator:(void (^_Nullable)(void *_Nonnull bytes))deallocator
                                        error:(NSError *_Nullable *_Nullable)error
    API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > dataPointer
/// Availability: macOS 10.13
@property(readonly, nonatomic) void *_Nonnull dataPointer API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > dataType
/// Availability: macOS 10.13
@property(readonly, nonatomic) MLMultiArrayDataType dataType API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > shape
/// Availability: macOS 10.13
@property(readonly, nonatomic) NSArray<NSNumber *> *_Nonnull shape API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > strides
/// Availability: macOS 10.13
@property(readonly, nonatomic) NSArray<NSNumber *> *_Nonnull strides API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > count
/// Availability: macOS 10.13
@property(readonly, nonatomic) NSInteger count API_AVAILABLE(macos(10.13));

/// Documentation: Core ML > MLMultiArray > getBytesWithHandler:
/// Availability: macOS 12.3
- (void)getBytesWithHandler:(void (^_Nonnull)(const void *_Nonnull bytes, NSInteger size))handler
    API_AVAILABLE(macos(12.3));

@end

#endif
