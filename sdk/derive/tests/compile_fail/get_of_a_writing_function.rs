//! A function that may write is called by GET.

use serde::Serialize;
use sluice_sdk::{Error, Function, Offline};

#[derive(Serialize, Function)]
#[function(name = "enqueue", returns = i64)]
struct Enqueue {
    kind: String,
}

fn main() -> Result<(), Error> {
    Offline::default().rpc(Enqueue { kind: "embed".to_owned() }).get().call()?;
    Ok(())
}
