//! Numbers as people read them.

/// `7` seconds as `7s`, 432 as `7m12s`, 3780 as `1h03m`.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A whole number with a comma after every three digits, such as `1,720`.
pub(super) fn grouped(value: f64) -> String {
    let digits = (value.max(0.0).round() as u64).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `part` of `whole` as a whole percentage; 0 % of nothing.
pub(super) fn share(part: f64, whole: f64) -> String {
    format!("{:.0} %", 100.0 * if whole > 0.0 { part / whole } else { 0.0 })
}

/// A word that a shell passes on unchanged.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@%=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let durations = [0.4, 59.6, 432.0, 3600.0, 3780.0, -1.0, f64::NAN].map(duration);
        assert_eq!(durations, ["0s", "1m00s", "7m12s", "1h00m", "1h03m", "0s", "0s"]);
        let numbers = [0.0, 999.0, 1720.4, 1_234_567.0].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,720", "1,234,567"]);
        assert_eq!((share(1.0, 3.0), share(1.0, 0.0)), ("33 %".to_owned(), "0 %".to_owned()));
    }

    #[test]
    fn a_shell_reads_back_the_path() {
        let words = ["runs/a-1", "my runs/it's", ""].map(shell_word);
        assert_eq!(words, ["runs/a-1", r"'my runs/it'\''s'", "''"]);
    }
}
