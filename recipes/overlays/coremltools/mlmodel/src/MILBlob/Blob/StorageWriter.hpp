// Writes the weights of an ML program: a MIL blob file, version 2. README.md has the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "MILBlob/Blob/BlobDataType.hpp"
#include "MILBlob/Fp16.hpp"
#include "MILBlob/Util/Span.hpp"

namespace MILBlob {
namespace Blob {

class StorageWriter final {
 public:
  // Creates the file, or empties it, and writes the header.
  // Throws std::runtime_error when the file cannot be opened or written.
  explicit StorageWriter(const std::string& filePath);

  StorageWriter(const StorageWriter&) = delete;
  StorageWriter& operator=(const StorageWriter&) = delete;
  StorageWriter(StorageWriter&&) = delete;
  StorageWriter& operator=(StorageWriter&&) = delete;
  ~StorageWriter() = default;

  // Appends one blob and returns the offset of its metadata record, in bytes from the start of the
  // file: the number that the program stores. The file is complete after every call.
  // Throws std::runtime_error when it cannot be written; the writer then refuses more data, and the
  // file still holds every blob written before.
  template <typename T>
  std::uint64_t WriteData(Util::Span<const T> data) {
    return Append(BlobDataTypeOf<T>::value, data.Data(), data.Size() * sizeof(T));
  }

  const std::string& GetFilePath() const noexcept { return path_; }

 private:
  struct Close {
    // Every write is flushed and checked where it is made, so closing has nothing left to report.
    void operator()(std::FILE* file) const noexcept { static_cast<void>(std::fclose(file)); }
  };

  std::uint64_t Append(BlobDataType type, const void* data, std::size_t size);
  void Write(const void* data, std::size_t size);
  void WriteCount(std::uint32_t count);
  [[noreturn]] void Fail(const char* action);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::uint64_t end_ = 0;
  std::uint32_t count_ = 0;
  bool failed_ = false;
};

}  // namespace Blob
}  // namespace MILBlob
