//! The page's file. It is replaced in one step, so that no reader sees half a page.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A file that a page can be written to.
#[derive(Debug)]
pub struct PageFile {
    path: PathBuf,
    /// A neighbour, which becomes the file.
    draft: PathBuf,
}

impl PageFile {
    /// Checks that the file can be written, before a run begins.
    ///
    /// # Errors
    /// [`Error::File`] if not.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let page = Self {
            path: path.to_owned(),
            draft: path.with_file_name(name),
        };
        if path.is_dir() {
            return Err(page.failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let tried = fs::write(&page.draft, "").and_then(|()| fs::remove_file(&page.draft));
        tried.map_err(|error| page.failed(error))?;
        Ok(page)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written any more, for example because the disk is full.
    pub fn write(&self, page: &str) -> Result<(), Error> {
        let written =
            fs::write(&self.draft, page).and_then(|()| fs::rename(&self.draft, &self.path));
        written.map_err(|error| {
            let _gone = fs::remove_file(&self.draft);
            self.failed(error)
        })
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }
}
