//! Hashes that are the same in every run and on every machine. The simulator's determinism rests on
//! them.

/// A hash of the parts in their order. Where one part ends and the next begins matters as well.
pub(crate) fn hash<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> u64 {
    let mut state = FNV_OFFSET;
    for part in parts {
        for &byte in part {
            state = (state ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        // No UTF-8 text contains this byte, so "a","bc" and "ab","c" have different hashes.
        state = (state ^ 0xff).wrapping_mul(FNV_PRIME);
    }
    mix(state)
}

/// A number from 0 up to, but not including, 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "53 bits are what an f64 holds exactly"
)]
pub(crate) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Spreads the state over all bits. With FNV alone, short inputs share their high bits.
fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash([b"gnome".as_slice()]), 11_232_112_711_958_324_072);
    }

    #[test]
    fn order_and_borders_of_parts_matter() {
        let parts = |a: &'static str, b: &'static str| hash([a.as_bytes(), b.as_bytes()]);
        assert_ne!(parts("ab", "c"), parts("a", "bc"));
        assert_ne!(parts("a", "b"), parts("b", "a"));
    }

    #[test]
    fn units_fill_their_range_evenly() {
        let units: Vec<f64> = (0_u32..10_000)
            .map(|n| unit(hash([&n.to_le_bytes()[..]])))
            .collect();
        let below = |limit: f64| units.iter().filter(|&&unit| unit < limit).count();
        assert_eq!(below(0.0), 0);
        assert!((900..1100).contains(&below(0.1)), "{}", below(0.1));
        assert!((4800..5200).contains(&below(0.5)), "{}", below(0.5));
        assert_eq!(below(1.0), units.len());
    }
}
