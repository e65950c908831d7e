#include "MILBlob/Blob/StorageWriter.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <system_error>
#include <type_traits>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "MIL blob files are little-endian, and blobs are written as they lie in memory"
#endif

namespace MILBlob {
namespace Blob {
namespace {

constexpr std::size_t kRecordSize = 64;  // of the header and of a metadata record
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint32_t kFormatVersion = 2;
constexpr std::uint32_t kSentinel = 0xDEADBEEF;

using Record = std::array<unsigned char, kRecordSize>;

template <typename T>
void Put(Record& record, std::size_t position, T value) {
  static_assert(std::is_unsigned_v<T>, "shifts below expect an unsigned value");
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    record[position + i] = static_cast<unsigned char>((value >> (8 * i)) & 0xFF);
  }
}

constexpr std::uint64_t AlignUp(std::uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

StorageWriter::StorageWriter(const std::string& filePath)
    : path_(filePath), file_(std::fopen(filePath.c_str(), "wb")) {
  if (!file_) {
    Fail("open");
  }
  Record header{};
  Put(header, 0, count_);
  Put(header, 4, kFormatVersion);
  Write(header.data(), header.size());
  if (std::fflush(file_.get()) != 0) {
    Fail("write");
  }
}

std::uint64_t StorageWriter::Append(BlobDataType type, const void* data, std::size_t size) {
  if (failed_) {
    throw std::runtime_error("Cannot add to weights file '" + path_ + "': an earlier write to it failed");
  }
  if (count_ == std::numeric_limits<std::uint32_t>::max()) {
    throw std::runtime_error("Cannot add to weights file '" + path_ + "': it holds as many blobs as the format counts");
  }

  const std::uint64_t metadata_offset = AlignUp(end_);
  const std::uint64_t data_offset = metadata_offset + kRecordSize;

  Record metadata{};
  Put(metadata, 0, kSentinel);
  Put(metadata, 4, static_cast<std::uint32_t>(type));
  Put(metadata, 8, static_cast<std::uint64_t>(size));
  Put(metadata, 16, data_offset);
  // Bytes 24 to 31 count the unused bits at the end of types smaller than a byte: none is written here.

  const Record padding{};
  Write(padding.data(), static_cast<std::size_t>(metadata_offset - end_));
  Write(metadata.data(), metadata.size());
  Write(data, size);
  if (std::fflush(file_.get()) != 0) {
    Fail("write");
  }
  // The count goes last: a file cut short by a full disk or a killed process is still a valid one.
  WriteCount(count_ + 1);
  ++count_;
  return metadata_offset;
}

void StorageWriter::Write(const void* data, std::size_t size) {
  if (size == 0) {
    return;  // the data pointer of an empty span may be null
  }
  errno = 0;
  if (std::fwrite(data, 1, size, file_.get()) != size) {
    Fail("write");
  }
  end_ += size;
}

void StorageWriter::WriteCount(std::uint32_t count) {
  Record header{};
  Put(header, 0, count);
  std::FILE* file = file_.get();
  if (std::fseek(file, 0, SEEK_SET) != 0 || std::fwrite(header.data(), 1, sizeof(count), file) != sizeof(count) ||
      std::fflush(file) != 0 || std::fseek(file, 0, SEEK_END) != 0) {
    Fail("update the header of");
  }
}

void StorageWriter::Fail(const char* action) {
  const int code = errno;
  failed_ = true;
  std::string message = std::string("Failed to ") + action + " weights file '" + path_ + "'";
  if (code != 0) {
    message += ": " + std::generic_category().message(code);
  }
  throw std::runtime_error(message);
}

}  // namespace Blob
}  // namespace MILBlob
