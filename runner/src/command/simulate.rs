//! `sluice simulate`

use serde::Serialize;
use serde_json::{Map, Value};

use super::signal::signalled;
use crate::cli::SimulateArgs;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::Printer;
use crate::simulator::{self, Config, Faults, Latency, SimulatedLimits};

#[derive(Serialize)]
struct SimulatorStarted {
    base_url: String,
}

pub(super) async fn run(arguments: &SimulateArgs, printer: &Printer) -> Result<Exit, Error> {
    let simulator = simulator::start(config(arguments)?)
        .await
        .map_err(|error| {
            let port = arguments.port;
            Error::Usage(format!(
                "failed to start on port {port}: {error}; --port 0 takes a free port"
            ))
        })?;
    let started = SimulatorStarted {
        base_url: simulator.base_url(),
    };
    printer.either(&started, || {
        format!(
            "The OpenAI simulator is up. In another terminal:\n\n  export OPENAI_BASE_URL={}\n  \
             export OPENAI_API_KEY=simulated\n\nCtrl-C stops it.",
            started.base_url
        )
    })?;
    signalled().await;
    simulator.shutdown().await;
    Ok(Exit::Complete)
}

fn config(arguments: &SimulateArgs) -> Result<Config, Error> {
    Ok(Config {
        port: arguments.port,
        limits: SimulatedLimits {
            requests_per_minute: arguments.rpm.map(u64::from),
            tokens_per_minute: arguments.tpm.map(u64::from),
            ..SimulatedLimits::default()
        },
        latency: Latency {
            fixed_ms: arguments.latency_ms,
            ..Latency::default()
        },
        faults: Faults {
            seed: arguments.seed,
            poison: arguments.poison.clone(),
            ..faults(&arguments.faults)?
        },
        ..Config::default()
    })
}

/// Parses texts like `drop=0.1`. The names are those of the simulator's configuration.
fn faults(texts: &[String]) -> Result<Faults, Error> {
    let mut rates = Map::new();
    for text in texts {
        let (name, rate) = text.split_once('=').unwrap_or((text, "1"));
        let rate = rate
            .parse::<f64>()
            .ok()
            .filter(|rate| (0.0..=1.0).contains(rate));
        let rate = rate.ok_or_else(|| {
            Error::Usage(format!(
                "--faults {text}: the rate must be a number from 0 to 1"
            ))
        })?;
        rates.insert(name.to_owned(), rate.into());
    }
    serde_json::from_value(Value::Object(rates))
        .map_err(|error| Error::Usage(format!("--faults: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Fault;

    #[test]
    fn faults_have_the_names_of_the_configuration() {
        let faults = faults(&["drop=0.25".to_owned(), "truncated_json".to_owned()]).unwrap();
        assert_eq!(faults.rates.get(&Fault::Drop), Some(&0.25));
        assert_eq!(faults.rates.get(&Fault::TruncatedJson), Some(&1.0));
    }

    #[test]
    fn unknown_fault_is_named_in_the_error() {
        let error = super::faults(&["dorp=0.1".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("dorp"), "{error}");
        assert!(super::faults(&["drop=2".to_owned()]).is_err());
    }
}
