//! Finding the bad rows of a request that was refused as a whole, with few requests.

/// What a caller does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'s, T> {
    /// Send these together, then call [`Bisection::accepted`], [`Bisection::refused`],
    /// [`Bisection::too_large`] or [`Bisection::at_most`].
    Send(&'s [T]),
    /// Everything was refused so far: the whole request, and probes with its first and its last row. If the
    /// rows are not at fault, stop. If they are, call [`Bisection::blame_rows`].
    AllRefused,
    /// This row is bad.
    Bad(T),
    /// Nothing is left.
    Done,
}

/// Whether it is known yet that rows are at fault, and not something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// No request was refused yet.
    Open,
    /// The whole request was refused. The first row is sent alone.
    First,
    /// The first row was refused too. The last row is sent alone.
    Last,
    /// Nothing was accepted. The caller decides.
    AllRefused,
    /// Rows are at fault.
    Settled,
}

/// Sends rows together, and finds the bad ones if a request is refused.
///
/// To send both halves of a refused request would cost two requests a level. This sends one half of the rows
/// that are known to hold a bad one. If that half is accepted, the bad row is in the other half, and nobody
/// needs to ask. If it is refused, the other half may be good, and waits to be sent with all other untested
/// rows. One bad row among n costs about log2(n) + 1 requests, and no good row is accepted twice.
///
/// Until it is known that rows are at fault, the search asks that first. If they are not, it costs three requests
/// at most. The two probes come on top of a search that finds bad rows.
#[derive(Debug)]
pub struct Bisection<T> {
    /// These hold at least one bad row, unless there are none.
    suspects: Vec<T>,
    /// Nothing is known about these, or only that they were part of a refused request.
    untested: Vec<T>,
    /// These were refused alone.
    bad: Vec<T>,
    doubt: Doubt,
    /// The most rows in a request.
    most: usize,
    /// Rows in the last request.
    sent: usize,
}

impl<T> Bisection<T> {
    fn new(rows: Vec<T>, most: usize) -> Self {
        Self {
            suspects: Vec::new(),
            untested: rows,
            bad: Vec::new(),
            doubt: Doubt::Settled,
            most: most.max(1),
            sent: 0,
        }
    }

    /// Rows to be sent, at most `most` in one request. It finds out first whether rows are at fault, unless that is
    /// known.
    pub fn doubting(rows: Vec<T>, most: usize, rows_are_at_fault: bool) -> Self {
        let doubt = if rows_are_at_fault {
            Doubt::Settled
        } else {
            Doubt::Open
        };
        Self {
            doubt,
            ..Self::new(rows, most)
        }
    }

    /// What to do next.
    pub fn step(&mut self) -> Step<'_, T> {
        match self.doubt {
            Doubt::First => return self.probe(0),
            Doubt::Last => return self.probe(self.suspects.len().saturating_sub(1)),
            Doubt::AllRefused => return Step::AllRefused,
            Doubt::Settled => {
                if let Some(row) = self.bad.pop() {
                    return Step::Bad(row);
                }
            }
            Doubt::Open => {}
        }
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

    fn probe(&mut self, place: usize) -> Step<'_, T> {
        self.sent = 1;
        match self.suspects.get(place..=place) {
            Some(row) => Step::Send(row),
            None => Step::Done,
        }
    }

    /// The rows of the last [`Step::Send`] were accepted.
    pub fn accepted(&mut self) {
        let doubt = std::mem::replace(&mut self.doubt, Doubt::Settled);
        match doubt {
            Doubt::First => {
                self.suspects.remove(0);
            }
            // The first row was the bad one. Nothing is known about the others.
            Doubt::Last => {
                self.suspects.pop();
                self.acquit();
            }
            Doubt::Open | Doubt::AllRefused | Doubt::Settled => {
                let sent = self.sent;
                self.asked().drain(..sent);
            }
        }
    }

    /// One of the rows of the last [`Step::Send`] is bad, or something else is.
    pub fn refused(&mut self) {
        match self.doubt {
            Doubt::First => {
                self.bad.push(self.suspects.remove(0));
                self.doubt = Doubt::Last;
            }
            Doubt::Last => {
                self.bad.extend(self.suspects.pop());
                self.acquit();
                self.doubt = Doubt::AllRefused;
            }
            Doubt::Open | Doubt::AllRefused | Doubt::Settled => self.halve(),
        }
    }

    fn halve(&mut self) {
        let sent = self.sent;
        let rest = self.asked().split_off(sent);
        if self.suspects.is_empty() {
            self.suspects = std::mem::replace(&mut self.untested, rest);
        } else {
            self.untested.extend(rest);
        }
        if self.doubt == Doubt::Open {
            self.doubt = match self.suspects.len() {
                1 => Doubt::AllRefused,
                _ => Doubt::First,
            };
        }
    }

    /// Rows are at fault, so the search goes on without probes.
    pub fn blame_rows(&mut self) {
        if self.doubt == Doubt::Last {
            self.acquit();
        }
        self.doubt = Doubt::Settled;
    }

    /// The last [`Step::Send`] was too large for one request. If it was a single row, that row is bad.
    pub fn too_large(&mut self) {
        if self.sent > 1 {
            self.at_most(self.sent / 2);
        } else {
            self.refused();
        }
    }

    /// Takes the only row of the last [`Step::Send`] out of the search. Nothing is known about it, nor any longer
    /// about the rows that were refused with it.
    pub fn take(&mut self) -> Option<T> {
        let doubt = self.doubt;
        let rows = self.asked();
        let row = match doubt {
            Doubt::Last => rows.pop(),
            _ => (!rows.is_empty()).then(|| rows.remove(0)),
        };
        match (doubt, self.bad.is_empty()) {
            (Doubt::First, _) => self.doubt = Doubt::Last,
            (Doubt::Last, false) => self.doubt = Doubt::AllRefused,
            (Doubt::Last, true) => self.doubt = Doubt::Open,
            (Doubt::Open | Doubt::AllRefused | Doubt::Settled, _) => {}
        }
        if self.doubt != Doubt::Last {
            self.acquit();
        }
        row
    }

    /// The last [`Step::Send`] had more rows than one request may have.
    pub fn at_most(&mut self, rows: usize) {
        self.most = rows.clamp(1, self.most);
    }

    /// The suspects were suspected because of a row that is found.
    fn acquit(&mut self) {
        self.untested.append(&mut self.suspects);
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
        run(Bisection::new(rows, usize::MAX), most, bad, true)
    }

    /// The same search, which finds out first whether rows are at fault.
    fn doubt(rows: Vec<u32>, bad: &[u32], at_fault: bool) -> (Vec<u32>, Vec<u32>, usize) {
        let bisection = Bisection::doubting(rows, usize::MAX, false);
        run(bisection, usize::MAX, bad, at_fault)
    }

    fn run(
        mut bisection: Bisection<u32>,
        most: usize,
        bad: &[u32],
        at_fault: bool,
    ) -> (Vec<u32>, Vec<u32>, usize) {
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
                Step::AllRefused if at_fault => bisection.blame_rows(),
                Step::Bad(row) => found.push(row),
                Step::AllRefused | Step::Done => return (passed, found, requests),
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

    #[test]
    fn a_request_that_is_refused_whatever_is_in_it_costs_three_requests_and_blames_no_row() {
        for (rows, expected) in [(1, 1), (2, 3), (3, 3), (100, 3), (2_048, 3)] {
            let all: Vec<u32> = (0..rows).collect();
            assert_eq!(doubt(all.clone(), &all, false), (vec![], vec![], expected));
        }
    }

    #[test]
    fn a_cap_is_kept_from_then_on() {
        let mut bisection = Bisection::doubting((0..60).collect(), usize::MAX, false);
        assert_eq!(bisection.step(), Step::Send(&(0..60).collect::<Vec<u32>>()));
        bisection.at_most(25);
        for sent in [25, 25, 10] {
            let Step::Send(rows) = bisection.step() else {
                panic!("rows are left")
            };
            assert_eq!(rows.len(), sent);
            bisection.accepted();
        }
        assert_eq!(bisection.step(), Step::Done);
    }

    proptest! {
        /// Another search may find out at any time that rows are at fault.
        #[test]
        fn no_good_row_is_found_whenever_the_doubt_ends(
            count in 1_u32..40,
            marks in prop::collection::vec(0_u32..40, 0..6),
            refusals in 0_usize..4,
        ) {
            let mut bisection = Bisection::doubting((0..count).collect(), usize::MAX, false);
            let (mut found, mut refused) = (Vec::new(), 0);
            loop {
                match bisection.step() {
                    Step::Send(rows) if rows.iter().any(|row| marks.contains(row)) => {
                        bisection.refused();
                        refused += 1;
                        if refused > refusals {
                            bisection.blame_rows();
                        }
                    }
                    Step::Send(_) => bisection.accepted(),
                    Step::AllRefused => bisection.blame_rows(),
                    Step::Bad(row) => found.push(row),
                    Step::Done => break,
                }
            }
            found.sort_unstable();
            prop_assert_eq!(found, (0..count).filter(|row| marks.contains(row)).collect::<Vec<_>>());
        }

        /// The bound of the whole product: 2·bad·(log2 n + 1) + 2.
        #[test]
        fn a_search_is_never_dear(
            count in 1_u32..300,
            marks in prop::collection::vec(0_u32..300, 0..40),
            dense: bool,
        ) {
            let is_bad = |row: &u32| marks.contains(row) || (dense && !row.is_multiple_of(3));
            let bad: Vec<u32> = (0..count).filter(is_bad).collect();
            let most = 2.0 * bad.len() as f64 * (f64::from(count).log2() + 1.0) + 2.0;
            for doubting in [false, true] {
                let rows = (0..count).collect();
                let (mut passed, mut found, requests) = if doubting {
                    doubt(rows, &bad, true)
                } else {
                    search(rows, usize::MAX, &bad)
                };
                prop_assert!(requests as f64 <= most, "{requests} requests, at most {most}");
                passed.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(&found, &bad);
                prop_assert_eq!(passed.len() + found.len(), count as usize);
            }
            let all: Vec<u32> = (0..count).collect();
            prop_assert!(doubt(all.clone(), &all, false).2 <= 3);
        }

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
