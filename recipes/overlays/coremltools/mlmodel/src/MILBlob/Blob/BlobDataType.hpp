// The type codes of the MIL blob format (version 2), and which C++ type each one stores.
#pragma once

#include <cstdint>

#include "MILBlob/Fp16.hpp"

namespace MILBlob {
namespace Blob {

enum class BlobDataType : std::uint32_t {
  Float16 = 1,
  Float32 = 2,
  UInt8 = 3,
  Int8 = 4,
  Int16 = 6,
  UInt16 = 7,
  Int32 = 14,
  UInt32 = 15,
};

// Left undefined for every other type: writing one is a compile error, not a wrong file.
template <typename T>
struct BlobDataTypeOf;

template <>
struct BlobDataTypeOf<Fp16> {
  static constexpr BlobDataType value = BlobDataType::Float16;
};
template <>
struct BlobDataTypeOf<float> {
  static constexpr BlobDataType value = BlobDataType::Float32;
};
template <>
struct BlobDataTypeOf<std::uint8_t> {
  static constexpr BlobDataType value = BlobDataType::UInt8;
};
template <>
struct BlobDataTypeOf<std::int8_t> {
  static constexpr BlobDataType value = BlobDataType::Int8;
};
template <>
struct BlobDataTypeOf<std::int16_t> {
  static constexpr BlobDataType value = BlobDataType::Int16;
};
template <>
struct BlobDataTypeOf<std::uint16_t> {
  static constexpr BlobDataType value = BlobDataType::UInt16;
};
template <>
struct BlobDataTypeOf<std::int32_t> {
  static constexpr BlobDataType value = BlobDataType::Int32;
};
template <>
struct BlobDataTypeOf<std::uint32_t> {
  static constexpr BlobDataType value = BlobDataType::UInt32;
};

}  // namespace Blob
}  // namespace MILBlob
