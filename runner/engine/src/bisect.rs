//! Finding the rows for which a batch is refused, with as few requests as can be.

/// What a caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Send these together, and tell [`Bisection::accepted`] or [`Bisection::refused`].
    Send(Vec<T>),
    /// This one is refused on its own account.
    Bad(T),
    /// Nothing is left.
    Done,
}

/// A search for the bad rows of a batch that was refused as a whole.
///
/// Halving and sending both halves costs two requests a level. This sends one half of what is known to
/// hold a bad row: where that half passes, the bad row is in the other one, which need not be asked;
/// where it is refused, the other half is unknown and waits, to be sent in one piece with all others
/// like it. One bad row among n costs about log2(n) + 1 requests, and no good row is sent twice once it
/// has been accepted.
#[derive(Debug)]
pub struct Bisection<T> {
    /// Holds at least one bad row, or is empty.
    suspects: Vec<T>,
    /// Not asked about since they were last part of a refused batch.
    unknown: Vec<T>,
    /// The request that is out, and whether it asks about suspects.
    asked_unknown: bool,
}

impl<T: Clone> Bisection<T> {
    /// Starts from a batch that was refused as a whole.
    pub fn new(refused: Vec<T>) -> Self {
        Self {
            suspects: refused,
            unknown: Vec::new(),
            asked_unknown: false,
        }
    }

    /// What to do next.
    pub fn step(&mut self) -> Step<T> {
        match self.suspects.len() {
            0 if self.unknown.is_empty() => Step::Done,
            0 => {
                self.asked_unknown = true;
                Step::Send(self.unknown.clone())
            }
            1 => self.suspects.pop().map_or(Step::Done, Step::Bad),
            count => {
                self.asked_unknown = false;
                Step::Send(self.suspects.iter().take(count / 2).cloned().collect())
            }
        }
    }

    /// The rows of the last [`Step::Send`] passed.
    pub fn accepted(&mut self) {
        if self.asked_unknown {
            self.unknown.clear();
        } else {
            self.suspects.drain(..self.suspects.len() / 2);
        }
    }

    /// The rows of the last [`Step::Send`] were refused.
    pub fn refused(&mut self) {
        if self.asked_unknown {
            self.suspects = std::mem::take(&mut self.unknown);
        } else {
            let rest = self.suspects.split_off(self.suspects.len() / 2);
            self.unknown.extend(rest);
        }
    }

    /// What has been neither accepted nor found bad, when the search is given up.
    pub fn into_rest(self) -> Vec<T> {
        self.suspects.into_iter().chain(self.unknown).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a search against a judge and counts its requests.
    fn search(rows: Vec<u32>, bad: &[u32]) -> (Vec<u32>, Vec<u32>, usize) {
        let mut bisection = Bisection::new(rows);
        let (mut passed, mut found, mut requests) = (Vec::new(), Vec::new(), 0);
        loop {
            match bisection.step() {
                Step::Send(rows) => {
                    requests += 1;
                    if rows.iter().any(|row| bad.contains(row)) {
                        bisection.refused();
                    } else {
                        passed.extend(rows);
                        bisection.accepted();
                    }
                }
                Step::Bad(row) => found.push(row),
                Step::Done => return (passed, found, requests),
            }
        }
    }

    #[test]
    fn one_bad_row_of_a_hundred_costs_eight_requests_at_most() {
        for bad in 0..100 {
            let (passed, found, requests) = search((0..100).collect(), &[bad]);
            assert_eq!((passed.len(), found), (99, vec![bad]));
            assert!(requests <= 8, "{requests} requests for row {bad}");
        }
    }

    #[test]
    fn one_bad_row_of_a_full_request_costs_twelve_at_most() {
        for bad in [0, 1, 777, 1_024, 2_047] {
            let (passed, found, requests) = search((0..2_048).collect(), &[bad]);
            assert_eq!((passed.len(), found), (2_047, vec![bad]));
            assert!(requests <= 12, "{requests} requests for row {bad}");
        }
    }

    proptest! {
        #[test]
        fn every_row_is_passed_or_found_exactly_once(
            count in 1_u32..80,
            marks in prop::collection::vec(0_u32..80, 1..6),
        ) {
            let bad: Vec<u32> = (0..count).filter(|row| marks.contains(row)).collect();
            prop_assume!(!bad.is_empty());
            let (mut passed, mut found, _) = search((0..count).collect(), &bad);
            passed.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(&found, &bad);
            prop_assert_eq!(passed, (0..count).filter(|row| !bad.contains(row)).collect::<Vec<_>>());
        }
    }
}
