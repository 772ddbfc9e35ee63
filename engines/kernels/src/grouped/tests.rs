use candle_core::{D, Device, Result, Tensor};

use super::{Heads, Mask, cross_attention, self_attention};

const SHARED: Heads = Heads {
    queries: 4,
    keys: 2,
    dim: 8,
};
const OWN: Heads = Heads {
    queries: 3,
    keys: 3,
    dim: 6,
};

fn random(dims: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, dims, &Device::Cpu)
}

/// ‖a−b‖/‖b‖.
fn distance(actual: &Tensor, expected: &Tensor) -> Result<f32> {
    let squares = |x: &Tensor| x.sqr()?.sum_all()?.to_scalar::<f32>();
    Ok((squares(&(actual - expected)?)? / squares(expected)?).sqrt())
}

/// Heads of [rows, heads · dim] in front, keys and values as often as queries share them: [queries, rows, dim].
fn split(x: &Tensor, heads: Heads, count: usize) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let x = x.reshape((rows, count, 1, heads.dim))?;
    x.broadcast_as((rows, count, heads.queries / count, heads.dim))?
        .reshape((rows, heads.queries, heads.dim))?
        .transpose(0, 1)?
        .contiguous()
}

/// One sequence by the formula; `seen` says whether a query looks at a key.
fn formula(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, seen: impl Fn(usize, usize) -> bool) -> Result<Tensor> {
    let (rows, keys) = (q.dim(0)?, k.dim(0)?);
    let (q, k, v) = (
        split(q, heads, heads.queries)?,
        split(k, heads, heads.keys)?,
        split(v, heads, heads.keys)?,
    );
    let hidden: Vec<f32> = (0..rows * keys)
        .map(|pair| {
            if seen(pair / keys, pair % keys) {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    let scores = (q.matmul(&k.t()?)? / (heads.dim as f64).sqrt())?;
    let scores = scores.broadcast_add(&Tensor::from_vec(hidden, (rows, keys), &Device::Cpu)?)?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    weights
        .matmul(&v)?
        .transpose(0, 1)?
        .reshape((rows, heads.query_columns()))
}

fn self_formula(qkv: &Tensor, heads: Heads, length: usize, mask: Mask) -> Result<Tensor> {
    let (queries, keys) = (heads.query_columns(), heads.key_columns());
    let sequences = (0..qkv.dim(0)? / length).map(|sequence| {
        let rows = qkv.narrow(0, sequence * length, length)?;
        let part = |from, columns| rows.narrow(1, from, columns)?.contiguous();
        formula(
            &part(0, queries)?,
            &part(queries, keys)?,
            &part(queries + keys, keys)?,
            heads,
            |query, key| match mask {
                Mask::None => true,
                Mask::Causal => key <= query,
                Mask::Window(reach) => query.abs_diff(key) <= reach,
            },
        )
    });
    Tensor::cat(&sequences.collect::<Result<Vec<_>>>()?, 0)
}

#[test]
fn attention_within_a_sequence_is_its_formula_under_every_mask() -> Result<()> {
    // Shorter than a block of queries, exactly one, one more, several; windows narrower and wider than the sequence.
    for heads in [SHARED, OWN] {
        for length in [1, 5, 48, 49, 131] {
            let qkv = random(&[3 * length, heads.query_columns() + 2 * heads.key_columns()])?;
            for mask in [
                Mask::None,
                Mask::Causal,
                Mask::Window(0),
                Mask::Window(7),
                Mask::Window(1000),
            ] {
                let actual = self_attention(&qkv, heads, length, mask)?;
                let error = distance(&actual, &self_formula(&qkv, heads, length, mask)?)?;
                assert!(error < 1e-5, "{heads:?}, {length} rows, {mask:?}: {error}");
            }
        }
    }
    Ok(())
}

#[test]
fn scores_far_apart_stay_finite() -> Result<()> {
    let qkv = (random(&[60, SHARED.query_columns() + 2 * SHARED.key_columns()])? * 30.0)?;
    let actual = self_attention(&qkv, SHARED, 60, Mask::Window(9))?;
    let error = distance(&actual, &self_formula(&qkv, SHARED, 60, Mask::Window(9))?)?;
    assert!(error < 1e-4, "{error}");
    Ok(())
}

#[test]
fn attention_to_a_memory_looks_at_as_many_rows_as_there_are() -> Result<()> {
    let (rows, lengths) = (51, [1u32, 83, 40]);
    let q = random(&[lengths.len() * rows, SHARED.query_columns()])?;
    let memory = random(&[lengths.len(), 83, 2 * SHARED.key_columns()])?;
    let actual = cross_attention(&q, &memory, &Tensor::new(&lengths, &Device::Cpu)?, SHARED, rows)?;
    for (batch, length) in lengths.into_iter().enumerate() {
        let own = memory.get(batch)?.narrow(0, 0, length as usize)?;
        let part = |from| own.narrow(1, from, SHARED.key_columns())?.contiguous();
        let q = q.narrow(0, batch * rows, rows)?;
        let expected = formula(&q, &part(0)?, &part(SHARED.key_columns())?, SHARED, |_, _| true)?;
        let error = distance(&actual.narrow(0, batch * rows, rows)?, &expected)?;
        assert!(error < 1e-5, "{length} rows: {error}");
    }
    Ok(())
}

#[test]
fn a_sequence_has_the_same_bits_whatever_is_beside_it() -> Result<()> {
    let (length, columns) = (77, SHARED.query_columns() + 2 * SHARED.key_columns());
    let bits = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
    let own = random(&[length, columns])?;
    let alone = bits(self_attention(&own, SHARED, length, Mask::Window(20))?)?;
    let beside = Tensor::cat(&[&random(&[2 * length, columns])?, &own], 0)?;
    let beside = self_attention(&beside, SHARED, length, Mask::Window(20))?;
    assert_eq!(alone, bits(beside.narrow(0, 2 * length, length)?)?);

    let (q, memory) = (
        random(&[9, SHARED.query_columns()])?,
        random(&[1, 30, 2 * SHARED.key_columns()])?,
    );
    let alone = cross_attention(&q, &memory, &Tensor::new(&[21u32], &Device::Cpu)?, SHARED, 9)?;
    let beside = cross_attention(
        &Tensor::cat(&[&random(&[9, SHARED.query_columns()])?, &q], 0)?,
        &Tensor::cat(&[&random(&[1, 30, 2 * SHARED.key_columns()])?, &memory], 0)?,
        &Tensor::new(&[30u32, 21], &Device::Cpu)?,
        SHARED,
        9,
    )?;
    assert_eq!(bits(alone)?, bits(beside.narrow(0, 9, 9)?)?);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let columns = SHARED.query_columns() + 2 * SHARED.key_columns();
    let qkv = random(&[10, columns])?;
    assert!(
        self_attention(&qkv, SHARED, 3, Mask::None).is_err(),
        "rows are no sequences"
    );
    assert!(
        self_attention(&qkv, OWN, 5, Mask::None).is_err(),
        "columns are other heads'"
    );
    let uneven = Heads {
        queries: 3,
        keys: 2,
        dim: 8,
    };
    let qkv = random(&[10, 56])?;
    assert!(
        self_attention(&qkv, uneven, 5, Mask::None).is_err(),
        "heads share unevenly"
    );
    let (q, memory) = (
        random(&[4, SHARED.query_columns()])?,
        random(&[2, 7, 2 * SHARED.key_columns()])?,
    );
    for lengths in [[0u32, 7], [8, 7]] {
        let lengths = Tensor::new(&lengths, &Device::Cpu)?;
        assert!(
            cross_attention(&q, &memory, &lengths, SHARED, 2).is_err(),
            "a memory has 1 to 7 rows"
        );
    }
    Ok(())
}
