use candle_core::{D, Device, Result, Tensor};

use super::{Adaptive, Gate, norm_rotary, residual_norm, swiglu};
use crate::{Heads, rotary_frequencies, rotary_table};

const EPS: f32 = 1e-6;
const BATCH: usize = 3;
const ROWS: usize = 5;
const WIDTH: usize = 24;

fn random(dims: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, dims, &Device::Cpu)
}

fn assert_close(actual: &Tensor, expected: &Tensor, what: &str) -> Result<()> {
    let squares = |x: &Tensor| x.sqr()?.sum_all()?.to_scalar::<f32>();
    let error = (squares(&(actual - expected)?)? / squares(expected)?).sqrt();
    assert!(error < 1e-6, "{what}: {error}");
    Ok(())
}

fn norm(x: &Tensor, gamma: &Tensor) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + f64::from(EPS))?.sqrt()?)?.broadcast_mul(gamma)
}

/// A vector of every batch, once for each of its rows.
fn spread(modulation: &Tensor, row: usize) -> Result<Tensor> {
    modulation
        .narrow(1, row, 1)?
        .broadcast_as((BATCH, ROWS, WIDTH))?
        .reshape((BATCH * ROWS, WIDTH))
}

#[test]
fn a_residual_step_is_its_formula_with_every_part_left_out() -> Result<()> {
    let (x, delta) = (random(&[BATCH * ROWS, WIDTH])?, random(&[BATCH * ROWS, WIDTH])?);
    let (gamma, modulation) = (random(&[WIDTH])?, random(&[BATCH, 6, WIDTH])?);
    let adaptive = Adaptive {
        modulation: &modulation,
        shift: 3,
        scale: 4,
    };
    let gate = Gate {
        modulation: &modulation,
        gate: 2,
    };
    let gated = (&x + (&delta * spread(&modulation, 2)?)?)?;
    for (what, added, sum) in [
        ("no delta", None, x.clone()),
        ("no gate", Some((&delta, None)), (&x + &delta)?),
        ("gated", Some((&delta, Some(gate))), gated),
    ] {
        let plain = residual_norm(&x, added, &gamma, None, ROWS, EPS)?;
        assert_close(&plain.0, &sum, what)?;
        assert_close(&plain.1, &norm(&sum, &gamma)?, what)?;
        let moved = residual_norm(&x, added, &gamma, Some(adaptive), ROWS, EPS)?;
        let expected = ((norm(&sum, &gamma)? * (spread(&modulation, 4)? + 1.0)?)? + spread(&modulation, 3)?)?;
        assert_close(&moved.0, &sum, what)?;
        assert_close(&moved.1, &expected, what)?;
    }
    Ok(())
}

#[test]
fn heads_are_normed_then_turned_by_their_place_in_the_sequence() -> Result<()> {
    let (heads, length) = (
        Heads {
            queries: 4,
            keys: 2,
            dim: 8,
        },
        7,
    );
    let qkv = random(&[2 * length, 8 * heads.dim])?;
    let (q_gamma, k_gamma) = (random(&[heads.dim])?, random(&[heads.dim])?);
    let frequencies = rotary_frequencies(heads.dim, 1e4);
    let table = rotary_table(&frequencies, length + 2, &Device::Cpu)?;
    let actual = norm_rotary(qkv.copy()?, &q_gamma, &k_gamma, &table, heads, length, EPS)?;

    let normed = |first, count, gamma| {
        norm(
            &qkv.narrow(1, first * heads.dim, count * heads.dim)?
                .reshape((2 * length, count, heads.dim))?,
            gamma,
        )
    };
    let normed = Tensor::cat(&[&normed(0, 4, &q_gamma)?, &normed(4, 2, &k_gamma)?], 1)?;
    // cos and sin of a row's angles, from their definition: dim/2 of them, for pairs half a head apart.
    let angles: Vec<f32> = (0..2 * length)
        .flat_map(|row| (0..4).map(move |pair| (row % length) as f32 / 1e4f32.powf(pair as f32 / 4.0)))
        .collect();
    let angles = Tensor::from_vec(angles, (2 * length, 1, 4), &Device::Cpu)?;
    let (a, b) = (normed.narrow(2, 0, 4)?, normed.narrow(2, 4, 4)?);
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let expected = Tensor::cat(&[&first, &second], 2)?.reshape((2 * length, 6 * heads.dim))?;
    assert_close(&actual.narrow(1, 0, 6 * heads.dim)?, &expected, "queries and keys")?;
    let values = |x: &Tensor| x.narrow(1, 6 * heads.dim, 2 * heads.dim)?.to_vec2::<f32>();
    assert_eq!(values(&actual)?, values(&qkv)?, "values stay as they are");
    Ok(())
}

#[test]
fn the_first_half_gates_the_second() -> Result<()> {
    let x = (random(&[9, 2 * WIDTH])? * 4.0)?;
    let (gate, up) = (x.narrow(1, 0, WIDTH)?, x.narrow(1, WIDTH, WIDTH)?);
    assert_close(&swiglu(&x)?, &(gate.silu()? * up)?, "swiglu")
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let (x, gamma) = (random(&[BATCH * ROWS, WIDTH])?, random(&[WIDTH])?);
    let six = random(&[BATCH, 6, WIDTH])?;
    let moved = |modulation, shift, rows| {
        residual_norm(
            &x,
            None,
            &gamma,
            Some(Adaptive {
                modulation,
                shift,
                scale: 0,
            }),
            rows,
            EPS,
        )
    };
    assert!(moved(&six, 5, ROWS).is_ok(), "the last row is one");
    assert!(moved(&six, 6, ROWS).is_err(), "there is no seventh row");
    assert!(moved(&six, 0, 4).is_err(), "rows are no batches of four");
    assert!(
        moved(&random(&[BATCH - 1, 6, WIDTH])?, 0, ROWS).is_err(),
        "a batch has no vectors"
    );
    assert!(swiglu(&random(&[2, 7])?).is_err(), "seven have no halves");
    let heads = Heads {
        queries: 2,
        keys: 1,
        dim: 8,
    };
    let table = rotary_table(&rotary_frequencies(8, 1e4), 4, &Device::Cpu)?;
    let gamma = random(&[8])?;
    assert!(
        norm_rotary(random(&[5, 32])?, &gamma, &gamma, &table, heads, 5, EPS).is_err(),
        "positions end before the sequence does"
    );
    Ok(())
}
