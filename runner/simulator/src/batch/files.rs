//! Files: what is uploaded, and what batches leave. Source: "Files".

use axum::body::Bytes;
use serde_json::{Value, json};

use super::page::{PageQuery, page};
use crate::error_response::ErrorResponse;

/// Why a file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilePurpose {
    /// The requests of a batch.
    Batch,
    /// The responses or errors of a batch.
    BatchOutput,
}

impl FilePurpose {
    fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::BatchOutput => "batch_output",
        }
    }
}

/// A file and what is known about it. Times are in seconds of the Unix epoch.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) purpose: FilePurpose,
    pub(crate) created_at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) content: Bytes,
}

impl StoredFile {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "file",
            "bytes": self.content.len(),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.name,
            "purpose": self.purpose.name(),
            "status": "processed",
        })
    }
}

/// All files, in the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<StoredFile>);

impl Files {
    pub(crate) fn add(&mut self, file: StoredFile) {
        self.0.push(file);
    }

    pub(crate) fn get(&self, id: &str) -> Result<&StoredFile, ErrorResponse> {
        let found = self.0.iter().find(|file| file.id == id);
        found.ok_or_else(|| ErrorResponse::no_such("File", id))
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<Value, ErrorResponse> {
        self.get(id)?;
        self.0.retain(|file| file.id != id);
        Ok(json!({"id": id, "object": "file", "deleted": true}))
    }

    /// A page of the list, newest first.
    pub(crate) fn list(&self, query: &PageQuery) -> Result<Value, ErrorResponse> {
        let wanted = |file: &&StoredFile| {
            let purpose = query.purpose.as_deref();
            purpose.is_none_or(|purpose| purpose == file.purpose.name())
        };
        let files = self.0.iter().rev().filter(wanted);
        let files = files.map(|file| (file.id.as_str(), file.to_json()));
        page(files, query, 10_000, 10_000)
    }
}
