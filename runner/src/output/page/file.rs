//! The page's file. It is replaced in one step, so that no reader sees half a page.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A file that a page can be written to.
#[derive(Debug)]
pub struct PageFile {
    path: PathBuf,
    /// A neighbour of the file, and the file that it becomes. `None` for a device or a pipe, which is written to as it
    /// is and never replaced.
    replaced: Option<(PathBuf, PathBuf)>,
}

impl PageFile {
    /// Checks that the file can be written, before a run begins.
    ///
    /// # Errors
    /// [`Error::File`] if not.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        let mut page = Self {
            path: path.to_owned(),
            replaced: None,
        };
        if path.is_dir() {
            return Err(page.failed(std::io::ErrorKind::IsADirectory.into()));
        }
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Ok(page);
        }
        // A link stays one: what it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let draft = target.with_file_name(name);
        let tried = fs::write(&draft, "").and_then(|()| fs::remove_file(&draft));
        tried.map_err(|error| page.failed(error))?;
        page.replaced = Some((draft, target));
        Ok(page)
    }

    /// Writes the page.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if the file cannot be written any more, for example because the disk is full.
    pub fn write(&self, page: &str) -> Result<(), Error> {
        let Some((draft, target)) = &self.replaced else {
            return fs::write(&self.path, page).map_err(|error| self.unwritten(&error));
        };
        let written = fs::write(draft, page).and_then(|()| fs::rename(draft, target));
        written.map_err(|error| {
            let _gone = fs::remove_file(draft);
            self.unwritten(&error)
        })
    }

    fn unwritten(&self, error: &std::io::Error) -> Error {
        let path = self.path.display();
        Error::Unexpected(format!(
            "failed to write the page {path}: {error}; the run itself is as the report says"
        ))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn only_a_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().to_owned();
        let path = |name| inside.join(name);
        let (file, link, pipe) = (path("page.html"), path("link.html"), path("pipe"));
        let write = |path: &Path| PageFile::prepare(path).unwrap().write("page").unwrap();

        fs::write(&file, "an older page").unwrap();
        symlink(&file, &link).unwrap();
        write(&link);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "page");

        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write(&pipe);
        assert_eq!(read.join().unwrap(), "page");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);

        let page = PageFile::prepare(&path("late.html")).unwrap();
        folder.close().unwrap();
        let error = page.write("page").unwrap_err();
        assert!(
            error.to_string().contains("late.html: No such file"),
            "{error}"
        );
        assert_eq!(error.exit(), Exit::Unexpected);
    }
}
