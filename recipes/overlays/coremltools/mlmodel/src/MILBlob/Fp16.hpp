// The 16 bits of an IEEE 754 binary16 number. Storage only: nothing here converts from or to float.
#pragma once

#include <cstdint>
#include <type_traits>

namespace MILBlob {

struct Fp16 final {
  Fp16() = default;
  explicit constexpr Fp16(std::uint16_t bits) noexcept : bytes(bits) {}

  std::uint16_t bytes = 0;
};

inline constexpr bool operator==(Fp16 a, Fp16 b) noexcept { return a.bytes == b.bytes; }
inline constexpr bool operator!=(Fp16 a, Fp16 b) noexcept { return a.bytes != b.bytes; }

// Callers cast the raw bytes of a tensor to Fp16, so it must be those two bytes and nothing more.
static_assert(sizeof(Fp16) == 2 && std::is_trivially_copyable_v<Fp16>, "Fp16 is two plain bytes");

}  // namespace MILBlob
