use crate::EmbedError;

/// Mean of the first `tokens` rows of `states` (`[width, hidden]`), scaled to length 1.
///
/// Fails on NaN and infinity: after the norm they would be hidden.
pub fn finish(
    states: &[f32],
    hidden: usize,
    tokens: usize,
    row: usize,
) -> Result<Vec<f32>, EmbedError> {
    let mut mean = vec![0f32; hidden];
    for state in states.chunks_exact(hidden).take(tokens) {
        for (sum, value) in mean.iter_mut().zip(state) {
            *sum += value;
        }
    }
    for sum in &mut mean {
        *sum /= tokens as f32;
    }
    if mean.iter().any(|value| !value.is_finite()) {
        return Err(EmbedError::NotFinite(row));
    }
    let norm = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut mean {
        *value /= norm.max(1e-12);
    }
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_left_out_and_the_length_is_one() {
        let vector = finish(&[3.0, 0.0, 3.0, 8.0, 9.0, 9.0], 2, 2, 0).unwrap();
        assert_eq!(vector, [0.6, 0.8]);
    }

    #[test]
    fn nan_is_an_error_before_the_norm() {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = finish(&[1.0, bad], 2, 1, 7).unwrap_err();
            assert!(matches!(error, EmbedError::NotFinite(7)), "{error}");
        }
    }
}
