// Part of ortmill's Apple surface: see README.md. Written from Apple's public documentation.
#ifndef ORTMILL_SURFACE_MLMODELCONFIGURATION_H
#define ORTMILL_SURFACE_MLMODELCONFIGURATION_H

#include <Foundation/Foundation.h>

/// Documentation: Core ML > MLComputeUnits
/// Availability: macOS 10.14
typedef enum MLComputeUnits : NSInteger {
  /// Documentation: Core ML > MLComputeUnits > MLComputeUnitsCPUOnly
  /// Availability: macOS 10.14
  MLComputeUnitsCPUOnly API_AVAILABLE(macos(10.14)) = 0,
  /// Documentation: Core ML > MLComputeUnits > MLComputeUnitsCPUAndGPU
  /// Availability: macOS 10.14
  MLComputeUnitsCPUAndGPU API_AVAILABLE(macos(10.14)) = 1,
  /// Documentation: Core ML > MLComputeUnits > MLComputeUnitsAll
  /// Availability: macOS 10.14
  MLComputeUnitsAll API_AVAILABLE(macos(10.14)) = 2,
  /// Documentation: Core ML > MLComputeUnits > MLComputeUnitsCPUAndNeuralEngine
  /// Availability: macOS 13.0
  MLComputeUnitsCPUAndNeuralEngine API_AVAILABLE(macos(13.0)) = 3,
} MLComputeUnits API_AVAILABLE(macos(10.14));

/// Documentation: Core ML > MLModelConfiguration
/// Availability: macOS 10.14
API_AVAILABLE(macos(10.14))
@interface MLModelConfiguration : NSObject

/// Documentation: Core ML > MLModelConfiguration > computeUnits
/// Availability: macOS 10.14
@property(readwrite) MLComputeUnits computeUnits API_AVAILABLE(macos(10.14));

/// Documentation: Core ML > MLModelConfiguration > allowLowPrecisionAccumulationOnGPU
/// Availability: macOS 10.15
@property(readwrite) BOOL allowLowPrecisionAccumulationOnGPU API_AVAILABLE(macos(10.15));

@end

#endif
