//! A batch as a file, for people who want to know why its gradient was not a number, and its columns for the record of a step.

use std::collections::BTreeMap;
use std::path::Path;

use rltrain_checkpoints::{Dtype, OwnedTensor, WriteError, write_safetensors};
use tch::{Device, Kind, Tensor};

use super::{Batch, Sequence, Values};
use crate::policy::Interjection;
use crate::record::Columns;

impl Batch {
    /// Writes prompts, tokens and columns as safetensors: `prompt_tokens` and `tokens` end to end, `prompt_lengths`, `lengths`
    /// and `prompts` (which prompt each sequence answers) to take them apart, and every column by its name. What the
    /// environment said is in `said_tokens`, with `said_lengths`, and for each piece the sequence and how many of its tokens
    /// come before, in `said_sequences` and `said_after`.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        let count = |lengths: Vec<usize>| lengths.into_iter().map(|length| length as i64).collect();
        let tokens = self.sequences.iter().flat_map(|sequence| sequence.tokens.iter().copied());
        let prompt = |sequence: &Sequence| sequence.prompt;
        let said = self.sequences.iter().enumerate();
        let said: Vec<(usize, &Interjection)> = said
            .flat_map(|(index, sequence)| sequence.interjections.iter().map(move |said| (index, said)))
            .collect();
        let numbers: [(&str, Vec<i64>); 9] = [
            ("prompt_tokens", self.prompts.concat()),
            ("prompt_lengths", count(self.prompts.iter().map(Vec::len).collect())),
            ("tokens", tokens.collect()),
            ("lengths", count(self.lengths())),
            ("prompts", count(self.sequences.iter().map(prompt).collect())),
            ("said_tokens", said.iter().flat_map(|(_, said)| said.tokens.iter().copied()).collect()),
            ("said_lengths", count(said.iter().map(|(_, said)| said.tokens.len()).collect())),
            ("said_sequences", count(said.iter().map(|(sequence, _)| *sequence).collect())),
            ("said_after", count(said.iter().map(|(_, said)| said.after).collect())),
        ];
        let values = self.values_n.as_ref();
        let columns = [
            ("sampled", Some(&self.sampled_n)),
            ("old", Some(&self.old_n)),
            ("advantages", Some(&self.advantages_n)),
            ("reference", self.reference_n.as_ref()),
            ("values", values.map(|Values { old_n, .. }| old_n)),
            ("returns", values.map(|Values { returns_n, .. }| returns_n)),
        ];
        let numbers = numbers.into_iter().map(|(name, numbers)| (name.to_owned(), integers(&numbers)));
        let columns =
            columns.into_iter().filter_map(|(name, column)| Some((name.to_owned(), floats(column?))));
        write_safetensors(path, numbers.chain(columns), &BTreeMap::new())
    }
}

impl Batch {
    /// What the record of a step keeps of it; `excluded` says which sequences have no place in the loss.
    pub fn recorded(&self, excluded: &[bool]) -> Columns {
        let bits = |column_n: &Tensor| -> Vec<u32> {
            let column_n = column_n.detach().to_kind(Kind::Float).to_device(Device::Cpu);
            let numbers = Vec::<f32>::try_from(column_n).expect("a column is a vector of numbers");
            numbers.into_iter().map(f32::to_bits).collect()
        };
        Columns {
            lengths: self.lengths(),
            excluded: excluded.to_vec(),
            advantages: bits(&self.advantages_n),
            old: self.recomputed.then(|| bits(&self.old_n)),
            reference: self.reference_n.as_ref().map(bits),
            keep: self.keep_n.as_ref().map(bits),
        }
    }
}

fn integers(numbers: &[i64]) -> OwnedTensor {
    let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    OwnedTensor { dtype: Dtype::I64, shape: vec![numbers.len()], data }
}

fn floats(column_n: &Tensor) -> OwnedTensor {
    let column_n = column_n.detach().to_kind(Kind::Float).to_device(Device::Cpu);
    let numbers = Vec::<f32>::try_from(column_n).expect("a column is a vector of numbers");
    let data = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    OwnedTensor { dtype: Dtype::F32, shape: vec![numbers.len()], data }
}

#[cfg(test)]
mod tests {
    use rltrain_checkpoints::read_safetensors;

    use super::*;
    use crate::rollout::Group;

    #[test]
    fn a_batch_reads_back_as_its_tokens_and_columns() {
        let mut batch =
            Batch::new(&[Group { task: 0, prompt: vec![7, 8], completions: Vec::new() }], Device::Cpu);
        let interjections = vec![Interjection { after: 2, tokens: vec![9] }];
        batch.sequences.push(Sequence { prompt: 0, tokens: vec![3, 4, 5], interjections, first: 0 });
        batch.sampled_n = Tensor::from_slice(&[-0.5f32, f32::NAN, -2.0]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.safetensors");
        batch.write(&path).unwrap();
        let file = read_safetensors(&path).unwrap();
        assert_eq!(file.read("tokens").unwrap(), integers(&[3, 4, 5]));
        assert_eq!(file.read("prompt_tokens").unwrap(), integers(&[7, 8]));
        assert_eq!(file.read("said_tokens").unwrap(), integers(&[9]));
        assert_eq!(file.read("said_after").unwrap(), integers(&[2]));
        let bytes: Vec<u8> =
            [-0.5f32, f32::NAN, -2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(file.read("sampled").unwrap().data, bytes);
        assert!(file.info("reference").is_none());
    }
}
