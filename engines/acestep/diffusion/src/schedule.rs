//! The times that a generation steps through, from noise (1) to sound (0).

/// Less is no denoising at all.
const DENOISE_MIN: f64 = 1e-6;

/// Times of a generation of so many steps: one more than there are steps, falling to 0.
///
/// `denoise` says how far from the source it starts; it takes effect in whole steps, as in the reference. `shift` bends the times towards
/// noise. Without denoising a generation is one step that changes nothing.
#[must_use]
pub fn schedule(steps: usize, denoise: f64, shift: f64) -> Vec<f64> {
    if denoise <= DENOISE_MIN {
        return vec![0.0, 0.0];
    }
    let start = if denoise >= 1.0 {
        1.0
    } else {
        steps as f64 / (steps as f64 / denoise).floor()
    };
    (0..=steps)
        .map(|step| start * (1.0 - step as f64 / steps as f64))
        .map(|time| shift * time / (1.0 + (shift - 1.0) * time))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
        }
    }

    #[test]
    fn the_references_own_examples() {
        assert_near(
            &schedule(8, 1.0, 3.0),
            &[1.0, 0.954_545_5, 0.9, 0.833_333_3, 0.75, 0.642_857_1, 0.5, 0.3, 0.0],
        );
        assert_near(
            &schedule(8, 0.7, 3.5),
            &[
                0.903_225_8,
                0.859_649_1,
                0.807_692_3,
                0.744_680_9,
                0.666_666_7,
                0.567_567_6,
                0.4375,
                0.259_259_3,
                0.0,
            ],
        );
        assert_near(&schedule(8, 0.0, 3.5), &[0.0, 0.0]);
        assert_near(&schedule(4, 1.0, 1.0), &[1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn times_always_fall_to_nothing() {
        for steps in 1..=16 {
            for denoise in [1e-5, 0.01, 0.3, 0.5, 0.999, 1.0] {
                for shift in [1.0, 3.5, 6.0] {
                    let times = schedule(steps, denoise, shift);
                    assert_eq!(times.len(), steps + 1);
                    assert_eq!(times[steps], 0.0);
                    assert!(times.windows(2).all(|pair| pair[0] > pair[1]), "{times:?}");
                    assert!(times[0] <= 1.0);
                }
            }
        }
    }
}
