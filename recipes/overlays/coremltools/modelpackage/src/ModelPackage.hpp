// Writes a Core ML model package: a directory of items and the Manifest.json that lists them.
// README.md has the layout.
#pragma once

#include <map>
#include <memory>
#include <string>

namespace MPL {

// What the manifest says of one item, and where its file or directory is.
class ModelPackageItemInfo final {
 public:
  ModelPackageItemInfo(std::string identifier, std::string path, std::string name, std::string author,
                       std::string description);

  const std::string& identifier() const noexcept { return identifier_; }
  const std::string& path() const noexcept { return path_; }  // absolute if the package's path is
  const std::string& name() const noexcept { return name_; }
  const std::string& author() const noexcept { return author_; }
  const std::string& description() const noexcept { return description_; }

 private:
  std::string identifier_;
  std::string path_;
  std::string name_;
  std::string author_;
  std::string description_;
};

// Every member throws std::runtime_error, with the path in its message, when it cannot do its work.
class ModelPackage final {
 public:
  // Opens the package at `path`. Where nothing is there yet, creates it if `createIfNecessary` and
  // throws otherwise. An existing path must be a directory with a valid manifest.
  explicit ModelPackage(const std::string& path, bool createIfNecessary = true);

  // Writes Manifest.json if anything changed, through a temporary file and a rename. Never throws:
  // a failure is told on standard error, and the package is then left without a new manifest.
  // Destroyed by an exception on its way, it writes none: the package is not complete.
  ~ModelPackage();

  ModelPackage(const ModelPackage&) = delete;
  ModelPackage& operator=(const ModelPackage&) = delete;
  ModelPackage(ModelPackage&&) = delete;
  ModelPackage& operator=(ModelPackage&&) = delete;

  const std::string& path() const noexcept { return path_; }

  // Copies the file or directory at `path` to Data/<author>/<name>. Returns the item's identifier.
  // `author` and `name` must each be one plain path component; the pair must be new.
  std::string addItem(const std::string& path, const std::string& name, const std::string& author,
                      const std::string& description);

  // The same, and marks the item as the package's model. A package has one.
  std::string setRootModel(const std::string& path, const std::string& name, const std::string& author,
                           const std::string& description);

  std::shared_ptr<ModelPackageItemInfo> findItem(const std::string& identifier) const;
  std::shared_ptr<ModelPackageItemInfo> getRootModel() const;

 private:
  struct Item {
    std::string path;  // relative to Data/, with '/' on every platform
    std::string name;
    std::string author;
    std::string description;
  };

  void Load();
  void Save() const;
  std::string Locate(const std::string& relative) const;

  std::string path_;
  std::map<std::string, Item> items_;  // by identifier
  std::string root_;                   // identifier of the root model, empty without one
  bool changed_ = false;
  int exceptions_at_start_ = 0;
};

}  // namespace MPL
