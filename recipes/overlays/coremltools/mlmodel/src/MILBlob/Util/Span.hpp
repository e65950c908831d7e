// A view of contiguous values that somebody else owns (std::span is C++20, this is built as C++17).
#pragma once

#include <cstddef>
#include <type_traits>

namespace MILBlob {
namespace Util {

template <typename T>
class Span final {
 public:
  using value_type = std::remove_cv_t<T>;

  constexpr Span() noexcept = default;
  constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  // A view of mutable values serves as a view of constant ones, never the other way round.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  constexpr Span(const Span<U>& other) noexcept : data_(other.Data()), size_(other.Size()) {}

  constexpr T* Data() const noexcept { return data_; }
  constexpr std::size_t Size() const noexcept { return size_; }
  constexpr bool IsEmpty() const noexcept { return size_ == 0; }

  constexpr T* begin() const noexcept { return data_; }
  constexpr T* end() const noexcept { return data_ + size_; }
  constexpr T& operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace Util
}  // namespace MILBlob
