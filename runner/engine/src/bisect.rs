//! Finding the bad rows of a request that was refused as a whole, with few requests.

/// What a caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'s, T> {
    /// Send these together, then call [`Bisection::accepted`], [`Bisection::refused`] or
    /// [`Bisection::too_large`].
    Send(&'s [T]),
    /// This row is bad.
    Bad(T),
    /// Nothing is left.
    Done,
}

/// Sends rows together, and finds the bad ones if a request is refused.
///
/// To send both halves of a refused request would cost two requests a level. This sends one half of the rows
/// that are known to hold a bad one. If that half is accepted, the bad row is in the other half, and nobody
/// needs to ask. If it is refused, the other half may be good, and waits to be sent with all other untested
/// rows. One bad row among n costs about log2(n) + 1 requests, and no good row is accepted twice.
#[derive(Debug)]
pub struct Bisection<T> {
    /// These hold at least one bad row, unless there are none.
    suspects: Vec<T>,
    /// Nothing is known about these, or only that they were part of a refused request.
    untested: Vec<T>,
    /// The most rows in a request.
    most: usize,
    /// Rows in the last request.
    sent: usize,
}

impl<T> Bisection<T> {
    /// Rows to be sent, at most `most` in one request.
    pub fn new(rows: Vec<T>, most: usize) -> Self {
        Self {
            suspects: Vec::new(),
            untested: rows,
            most: most.max(1),
            sent: 0,
        }
    }

    /// What to do next.
    pub fn step(&mut self) -> Step<'_, T> {
        let (rows, count) = match self.suspects.len() {
            0 => (&self.untested, self.untested.len()),
            1 => return self.suspects.pop().map_or(Step::Done, Step::Bad),
            suspects => (&self.suspects, suspects / 2),
        };
        self.sent = count.min(self.most);
        match rows.get(..self.sent) {
            Some(rows) if !rows.is_empty() => Step::Send(rows),
            _ => Step::Done,
        }
    }

    /// The rows of the last [`Step::Send`] were accepted.
    pub fn accepted(&mut self) {
        let sent = self.sent;
        self.asked().drain(..sent);
    }

    /// One of the rows of the last [`Step::Send`] is bad.
    pub fn refused(&mut self) {
        let sent = self.sent;
        let rest = self.asked().split_off(sent);
        if self.suspects.is_empty() {
            self.suspects = std::mem::replace(&mut self.untested, rest);
        } else {
            self.untested.extend(rest);
        }
    }

    /// The last [`Step::Send`] was too large for one request. If it was a single row, that row is bad.
    pub fn too_large(&mut self) {
        if self.sent > 1 {
            self.most = self.sent / 2;
        } else {
            self.refused();
        }
    }

    /// The rows that the last request was taken from.
    fn asked(&mut self) -> &mut Vec<T> {
        if self.suspects.is_empty() {
            &mut self.untested
        } else {
            &mut self.suspects
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches rows some of which are bad. Counts the requests.
    fn search(rows: Vec<u32>, most: usize, bad: &[u32]) -> (Vec<u32>, Vec<u32>, usize) {
        let mut bisection = Bisection::new(rows, usize::MAX);
        let (mut passed, mut found, mut requests) = (Vec::new(), Vec::new(), 0);
        loop {
            match bisection.step() {
                Step::Send(rows) => {
                    requests += 1;
                    if rows.len() > most {
                        bisection.too_large();
                    } else if rows.iter().any(|row| bad.contains(row)) {
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
    fn good_rows_cost_one_request() {
        assert_eq!(search(vec![1, 2, 3], 3, &[]), (vec![1, 2, 3], vec![], 1));
        assert_eq!(search(vec![], 3, &[]), (vec![], vec![], 0));
    }

    #[test]
    fn one_bad_row_of_a_hundred_costs_eight_requests_at_most() {
        for bad in 0..100 {
            let (passed, found, requests) = search((0..100).collect(), 100, &[bad]);
            assert_eq!((passed.len(), found), (99, vec![bad]));
            // The first one finds out that there is a bad row.
            assert!(requests <= 1 + 8, "{requests} requests for row {bad}");
        }
    }

    #[test]
    fn one_bad_row_of_a_full_request_costs_twelve_at_most() {
        for bad in [0, 1, 777, 1_024, 2_047] {
            let (passed, found, requests) = search((0..2_048).collect(), 2_048, &[bad]);
            assert_eq!((passed.len(), found), (2_047, vec![bad]));
            assert!(requests <= 1 + 12, "{requests} requests for row {bad}");
        }
    }

    #[test]
    fn a_request_that_is_too_large_is_sent_in_smaller_ones() {
        let (passed, found, requests) = search((0..100).collect(), 30, &[]);
        assert_eq!((passed.len(), found), (100, vec![]));
        // 100 and 50 are too large, 25 is not.
        assert_eq!(requests, 2 + 4);
        assert_eq!(search(vec![7], 0, &[]), (vec![], vec![7], 1));
    }

    proptest! {
        #[test]
        fn every_row_is_passed_or_found_exactly_once(
            count in 1_u32..80,
            most in 1_usize..90,
            marks in prop::collection::vec(0_u32..80, 0..6),
        ) {
            let bad: Vec<u32> = (0..count).filter(|row| marks.contains(row)).collect();
            let (mut passed, mut found, _) = search((0..count).collect(), most, &bad);
            passed.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(&found, &bad);
            prop_assert_eq!(passed, (0..count).filter(|row| !bad.contains(row)).collect::<Vec<_>>());
        }
    }
}
