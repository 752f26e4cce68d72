//! What the provider answered to a request that succeeded.

use crate::rate::RateHeaders;
use crate::tier::Tier;
use crate::usage::Usage;

/// A successful response.
#[derive(Clone, Debug)]
pub struct Response<T> {
    /// What was requested.
    pub value: T,
    /// What was billed. Some servers do not say.
    pub usage: Option<Usage>,
    /// The state of the limits.
    pub rate: RateHeaders,
    /// The name by which the provider's support finds the request.
    pub request_id: Option<String>,
    /// The model that the response names, or else the one that the request named.
    pub model: String,
    /// The tier that was billed, if the response names one.
    pub tier: Option<Tier>,
}
