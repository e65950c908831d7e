//! The guard before the first call: is this ONNX Runtime one that the crate can use?
//!
//! The crate asks the library for one version of the C API, that of its `api-…` feature. A library
//! serves its own version and every older one. Asked for a newer one it gives a null pointer, and
//! the crate panics at whatever call happens to be the first; older releases of the crate waited
//! for themselves for ever (pykeio/ort#560, #583). Two questions to the library tell beforehand.

#[cfg(feature = "load")]
use std::error::Error;
use std::ffi::CStr;

use ort::sys::OrtApiBase;

use crate::EmbedError;

/// The API that this program was compiled for: 21 for ONNX Runtime 1.21.
pub const WANTED: u32 = ort::MINOR_VERSION;

/// The library that was found.
#[derive(Debug)]
pub struct Library {
    pub version: String,
    pub path: String,
}

fn check(base: *const OrtApiBase, path: &str) -> Result<Library, EmbedError> {
    if base.is_null() {
        return Err(EmbedError::Library(format!(
            "{path} gives no ONNX Runtime API"
        )));
    }
    // SAFETY: the table of two functions has been the same since ONNX Runtime 1.0.
    let (version, api) = unsafe {
        (
            CStr::from_ptr(((*base).GetVersionString)())
                .to_string_lossy()
                .into_owned(),
            ((*base).GetApi)(WANTED),
        )
    };
    if api.is_null() {
        return Err(EmbedError::Library(format!(
            "{path} is ONNX Runtime {version}, and this program was compiled for API {WANTED} \
             (ONNX Runtime 1.{WANTED} or newer): take a newer library, or compile with the \
             feature api-N of the crate ort, where N is the minor version of the library"
        )));
    }
    Ok(Library {
        version,
        path: path.to_owned(),
    })
}

/// Open the library that `ORT_DYLIB_PATH` names, and look at it before the crate does.
#[cfg(feature = "load")]
pub fn library() -> Result<(Library, ort::environment::EnvironmentBuilder), EmbedError> {
    // Without the variable the crate takes whatever the system's loader finds by name.
    let path = std::env::var("ORT_DYLIB_PATH").unwrap_or_default();
    if path.is_empty() {
        return Err(EmbedError::Library(
            "ORT_DYLIB_PATH is not set: it names lib/libonnxruntime.so (or .dylib) of the SDK"
                .into(),
        ));
    }
    // SAFETY: ONNX Runtime's initialisers are what is run; the crate would open it the same way.
    let found = unsafe {
        let opened = libloading::Library::new(&path).map_err(|error| {
            // By itself it says that dlopen failed; what the loader found wrong is its source.
            let why = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            EmbedError::Library(format!("{path} does not load: {why}"))
        })?;
        let base = opened
            .get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase")
            .map_err(|_| EmbedError::Library(format!("{path} is no ONNX Runtime")))?(
        );
        let found = check(base, &path)?;
        std::mem::forget(opened); // It stays; ONNX Runtime is not made to be unloaded.
        found
    };
    let builder = ort::init_from(&path).map_err(|error| EmbedError::Library(error.to_string()))?;
    Ok((found, builder))
}

/// Look at the library that this program is linked with, before the crate does.
#[cfg(not(feature = "load"))]
pub fn library() -> Result<(Library, ort::environment::EnvironmentBuilder), EmbedError> {
    // SAFETY: a function without arguments that every ONNX Runtime has.
    let base = unsafe { ort::sys::OrtGetApiBase() };
    Ok((check(base, "the linked library")?, ort::init()))
}
