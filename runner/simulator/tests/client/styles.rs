//! The client against the other styles of server.

use super::{KEY, TEXTS, chat, client_with, embed, schema};
use sluice_provider::{ClientConfig, ErrorKind, KeyHeader, RefusalCause};
use sluice_simulator::{Config, Style, start};

#[tokio::test]
async fn the_client_understands_other_styles() {
    for style in [Style::Azure, Style::Local] {
        let config = Config {
            style,
            ..Config::default()
        };
        let simulator = start(config).await.unwrap();
        let client = client_with(&simulator, |settings| {
            if style == Style::Azure {
                azure(settings);
            }
        });
        let answer = embed(&client, &TEXTS).await.unwrap();
        assert_eq!(
            answer.rate,
            sluice_provider::RateHeaders::default(),
            "{style:?}"
        );
        assert_eq!(answer.usage.is_none(), style == Style::Local);
        let scores = chat(&client, &schema()).await.unwrap();
        assert_eq!(scores.usage.is_none(), style == Style::Local);
    }
}

/// The settings for Azure.
fn azure(settings: &mut ClientConfig) {
    settings.key_header = KeyHeader::ApiKey;
    settings.api_version = Some("2024-10-21".to_owned());
    let deployment = "/openai/deployments/small";
    settings.base_url = settings.base_url.replace("/v1", deployment);
}

#[tokio::test]
async fn azure_needs_its_own_header_and_a_version() {
    let config = Config {
        style: Style::Azure,
        key: Some(KEY.into()),
        ..Config::default()
    };
    let simulator = start(config).await.unwrap();
    let refusal = async |change: fn(&mut ClientConfig)| {
        let client = client_with(&simulator, |settings| {
            azure(settings);
            change(settings);
        });
        let error = embed(&client, &TEXTS).await.unwrap_err();
        error.kind().clone()
    };
    let bearer = refusal(|settings| settings.key_header = KeyHeader::Authorization);
    assert_eq!(bearer.await, ErrorKind::Refused(RefusalCause::Key));
    let no_version = refusal(|settings| settings.api_version = None);
    assert_eq!(no_version.await, ErrorKind::Refused(RefusalCause::Settings));
    let client = client_with(&simulator, azure);
    assert!(embed(&client, &TEXTS).await.is_ok());
    let stats = simulator.stats();
    assert_eq!((stats.requests, stats.refused, stats.answered), (3, 2, 1));
}
