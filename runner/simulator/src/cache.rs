//! The prompt cache: which input was seen before. Source: "Prompt caching".
//!
//! A prompt is cached from 1,024 tokens on, in steps of 128. Models from gpt-5.6 on cache it at
//! breakpoints instead, and find it only if all before a breakpoint is the same. Requests with the
//! same key and the same first 256 tokens go to the same machine, but only so many in a minute. The
//! rest goes to the next machine, which knows nothing yet.

use std::{collections::HashMap, time::Duration};

use crate::{hash::hash, tokens::Vocabulary};

/// The shortest beginning of a prompt that is cached, in tokens.
const FIRST_STEP: usize = 1_024;
/// By how many tokens each cached beginning is longer than the one before.
const STEP: usize = 128;
/// How many tokens of a prompt, beside the key, decide which machine gets it.
const ROUTED_BY: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);
/// Among how many machines a request without a key may go astray.
const MACHINES: u64 = 4;

/// The beginnings of a prompt, as hashes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beginnings {
    /// The part that decides which machine gets the request.
    route: u64,
    /// Those that can be cached, the shortest first, and how many tokens each has.
    steps: Vec<(u64, u64)>,
}

impl Beginnings {
    /// Those of a model that caches in steps.
    pub(crate) fn of(prompt: &str, vocabulary: Vocabulary) -> Self {
        let route = route(prompt, vocabulary);
        let mut steps = Vec::new();
        let (mut rest, mut step, mut before) = (prompt, FIRST_STEP, 0_u64);
        loop {
            let head = vocabulary.head(rest, step);
            if head.is_empty() || (head.len() == rest.len() && vocabulary.count(head) < step) {
                return Self { route, steps };
            }
            before = hash([&before.to_le_bytes()[..], head.as_bytes()]);
            steps.push((before, (FIRST_STEP + steps.len() * STEP) as u64));
            rest = rest.get(head.len()..).unwrap_or_default();
            step = STEP;
        }
    }

    /// Those of a model that caches at breakpoints, which are given in bytes and in order.
    pub(crate) fn at(prompt: &str, breakpoints: &[usize], vocabulary: Vocabulary) -> Self {
        let heads = breakpoints.iter().filter_map(|at| prompt.get(..*at));
        let steps = heads.map(|head| (hash([head.as_bytes()]), vocabulary.count(head) as u64));
        Self {
            route: route(prompt, vocabulary),
            steps: steps
                .filter(|(_, tokens)| *tokens >= FIRST_STEP as u64)
                .collect(),
        }
    }
}

fn route(prompt: &str, vocabulary: Vocabulary) -> u64 {
    hash([vocabulary.head(prompt, ROUTED_BY).as_bytes()])
}

/// What the cache does for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheUse {
    /// Tokens that were found.
    pub(crate) cached: u64,
    /// Tokens that will be found later.
    pub(crate) written: u64,
    /// The beginnings to keep, as the machine knows them.
    keeps: Vec<u64>,
}

/// How a request asks for the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRequest<'r> {
    pub(crate) model: &'r str,
    /// The `prompt_cache_key`.
    pub(crate) key: Option<&'r str>,
    /// Whether the model charges for writes. Such models need a key to find what they wrote.
    pub(crate) charges_writes: bool,
    pub(crate) beginnings: &'r Beginnings,
}

/// What all machines know.
#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    known: HashMap<u64, Duration>,
    /// How many requests each key had in its current minute, and when that began.
    routed: HashMap<u64, (Duration, u64)>,
    requests: u64,
}

/// How long a beginning that nobody asks for is kept.
const RETENTION: Duration = Duration::from_secs(600);
/// How many beginnings are kept before the old ones are looked for.
const MANY: usize = 1 << 20;

impl PromptCache {
    /// What the cache does for a request that arrives now. `per_minute` is how many requests with
    /// the same key go to one machine in a minute.
    pub(crate) fn look_up(
        &mut self,
        request: CacheRequest<'_>,
        per_minute: u64,
        now: Duration,
    ) -> CacheUse {
        if request.beginnings.steps.is_empty() {
            return CacheUse::default();
        }
        let machine = self.machine(&request, per_minute, now);
        let keeps = request.beginnings.steps.iter();
        let keeps: Vec<u64> = keeps
            .map(|(beginning, _)| hash([&machine.to_le_bytes()[..], &beginning.to_le_bytes()]))
            .collect();
        let is_known = |kept: &u64| {
            let at = self.known.get(kept);
            at.is_some_and(|at| now.saturating_sub(*at) < RETENTION)
        };
        let tokens = || request.beginnings.steps.iter().map(|(_, tokens)| *tokens);
        let found = keeps.iter().zip(tokens()).rfind(|(kept, _)| is_known(kept));
        let cached = found.map_or(0, |(_, tokens)| tokens);
        CacheUse {
            cached,
            written: tokens().next_back().unwrap_or_default() - cached,
            keeps,
        }
    }

    /// Keeps what a request wrote. It is called when its response has been sent, so requests at the
    /// same moment do not find it.
    pub(crate) fn keep(&mut self, used: &CacheUse, now: Duration) {
        if self.known.len() > MANY {
            self.known
                .retain(|_, at| now.saturating_sub(*at) < RETENTION);
        }
        self.known
            .extend(used.keeps.iter().map(|kept| (*kept, now)));
    }

    /// The machine that gets the request.
    fn machine(&mut self, request: &CacheRequest<'_>, per_minute: u64, now: Duration) -> u64 {
        self.requests += 1;
        let model = request.model.as_bytes();
        let start = request.beginnings.route.to_le_bytes();
        let route = match request.key {
            Some(key) => hash([model, b"key", key.as_bytes(), &start]),
            None if request.charges_writes => {
                let astray = hash([&self.requests.to_le_bytes()[..]]) % MACHINES;
                return hash([model, b"astray", &astray.to_le_bytes()]);
            }
            None => hash([model, b"prompt", &start]),
        };
        let (since, count) = self.routed.entry(route).or_insert((now, 0));
        if now.saturating_sub(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        let spilled = *count / per_minute.max(1);
        *count += 1;
        hash([&route.to_le_bytes()[..], &spilled.to_le_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginnings(prompt: &str) -> Beginnings {
        Beginnings::of(prompt, Vocabulary::O200k)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// What the cache does for a request with this key, which is answered before the next one.
    fn asked(
        cache: &mut PromptCache,
        key: Option<&str>,
        charges_writes: bool,
        beginnings: &Beginnings,
        now: Duration,
    ) -> (u64, u64) {
        let request = CacheRequest {
            model: "m",
            key,
            charges_writes,
            beginnings,
        };
        let used = cache.look_up(request, 15, now);
        cache.keep(&used, now);
        (used.cached, used.written)
    }

    #[test]
    fn a_prompt_is_cached_from_1024_tokens_on_in_steps_of_128() {
        for (tokens, steps) in [
            (1, 0),
            (1_023, 0),
            (1_024, 1),
            (1_151, 1),
            (1_152, 2),
            (1_920, 8),
        ] {
            assert_eq!(
                beginnings(&" a".repeat(tokens)).steps.len(),
                steps,
                "{tokens}"
            );
        }
    }

    #[test]
    fn only_the_same_beginning_is_found() {
        let mut cache = PromptCache::default();
        let shared = " a".repeat(1_200);
        let first = beginnings(&format!("{shared}{}", " b".repeat(200)));
        let second = beginnings(&format!("{shared}{}", " c".repeat(200)));
        let key = Some("k");
        assert_eq!(asked(&mut cache, key, true, &first, secs(0)), (0, 1_280));
        assert_eq!(asked(&mut cache, key, true, &first, secs(1)), (1_280, 0));
        assert_eq!(asked(&mut cache, key, true, &second, secs(2)), (1_152, 128));
        assert_eq!(
            asked(&mut cache, Some("l"), true, &first, secs(3)),
            (0, 1_280)
        );
        let other = beginnings(&format!("b{shared}"));
        assert_eq!(asked(&mut cache, key, true, &other, secs(4)).0, 0);
        // Ten minutes after the last response, nothing is left.
        assert_eq!(asked(&mut cache, key, true, &first, secs(700)), (0, 1_280));
    }

    #[test]
    fn requests_at_the_same_moment_do_not_find_each_other() {
        let mut cache = PromptCache::default();
        let prompt = beginnings(&" a".repeat(1_100));
        let request = CacheRequest {
            model: "m",
            key: Some("k"),
            charges_writes: true,
            beginnings: &prompt,
        };
        let both = [0, 1].map(|_| cache.look_up(request, 15, secs(0)));
        assert_eq!(both.each_ref().map(|used| used.cached), [0, 0]);
        cache.keep(&both[0], secs(1));
        assert_eq!(cache.look_up(request, 15, secs(2)).cached, 1_024);
    }

    #[test]
    fn a_key_spills_over_to_the_next_machine() {
        let mut cache = PromptCache::default();
        let prompt = beginnings(&" a".repeat(1_100));
        let mut hits = |now| asked(&mut cache, Some("k"), true, &prompt, secs(now)).0 > 0;
        let found: Vec<bool> = (0..31).map(|_| hits(0)).collect();
        let missed: Vec<usize> = (0..31).filter(|at| !found[*at]).collect();
        assert_eq!(missed, [0, 15, 30]);
        // The next minute begins at the first machine again.
        assert!(hits(60));
    }

    #[test]
    fn newer_models_need_a_key_to_find_what_they_wrote() {
        let prompt = beginnings(&" a".repeat(1_100));
        let misses = |charges_writes| {
            let mut cache = PromptCache::default();
            (0..10)
                .filter(|_| asked(&mut cache, None, charges_writes, &prompt, secs(0)).0 == 0)
                .count()
        };
        assert_eq!(misses(false), 1);
        assert!((2..=4).contains(&misses(true)));
    }
}
