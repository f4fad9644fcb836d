//! The values of single queries, in a file.

use std::path::Path;
use std::{fs, io};

use csv::{IntoInnerError, ReaderBuilder, StringRecord, Trim};
use recall_eval::{EvalError, Metric, Scores};

/// What the metrics are for each query that counts, with its image and class: what two runs are
/// compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryScores {
    /// Image of each query that counts, as the data set names it.
    pub images: Vec<String>,
    /// Its class.
    pub classes: Vec<String>,
    /// Its values: row `i` is that of `images[i]`.
    pub scores: Scores,
}

/// The name of the file in the folder of a run that went to its end.
pub(crate) const QUERIES: &str = "queries.csv";

/// The columns before the metrics.
const COLUMNS: [&str; 2] = ["image", "class"];

impl QueryScores {
    /// The scores with image and class of each query; `about` tells them of the number of a query,
    /// as in [`Scores::queries`].
    pub fn new(scores: Scores, about: impl Fn(usize) -> (String, String)) -> Self {
        let (images, classes) = scores.queries().iter().map(|&query| about(query)).unzip();
        Self {
            images,
            classes,
            scores,
        }
    }

    /// A table `image,class,recall@1,…`, a line for each query, in UTF-8. Numbers have the digits that it
    /// takes to read them back as they are.
    ///
    /// # Errors
    ///
    /// None that a table in memory could have.
    pub fn to_csv(&self) -> io::Result<Vec<u8>> {
        let metrics = self.scores.metrics();
        let columns: Vec<Vec<f64>> = metrics
            .iter()
            .filter_map(|&metric| self.scores.of(metric))
            .collect();
        let mut table = csv::Writer::from_writer(Vec::new());
        let names = COLUMNS.into_iter().map(str::to_owned);
        table.write_record(names.chain(metrics.iter().map(Metric::to_string)))?;
        for (row, (image, class)) in self.images.iter().zip(&self.classes).enumerate() {
            let values = columns.iter().map(|column| column[row].to_string());
            table.write_record([image.clone(), class.clone()].into_iter().chain(values))?;
        }
        table.into_inner().map_err(IntoInnerError::into_error)
    }

    /// Writes [`to_csv`](Self::to_csv) to a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), EvalError> {
        let table = self.to_csv();
        table
            .and_then(|table| fs::write(path, table))
            .map_err(|source| EvalError::Io {
                path: path.to_owned(),
                source,
            })
    }

    /// Reads what [`write`](Self::write) wrote. Queries are numbered anew, from 0.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is no such table, with the line at fault.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let bytes = fs::read(path).map_err(|source| EvalError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&bytes).map_err(|problem| EvalError::File {
            path: path.to_owned(),
            problem,
            way_out: "it should be as a run wrote it, image,class and metrics".to_owned(),
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = ReaderBuilder::new().trim(Trim::Headers).from_reader(bytes);
        let header = reader.headers().map_err(|error| error.to_string())?.clone();
        let metrics = match header.iter().collect::<Vec<_>>()[..] {
            [image, class, ref metrics @ ..] if [image, class] == COLUMNS => metrics
                .iter()
                .map(|name| name.parse())
                .collect::<Result<Vec<Metric>, EvalError>>()
                .map_err(|error| error.to_string())?,
            _ => return Err("the first line does not begin with image,class".to_owned()),
        };
        let (mut images, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            images.push(record[0].to_owned());
            classes.push(record[1].to_owned());
            for (field, metric) in record.iter().skip(COLUMNS.len()).zip(&metrics) {
                let value: f64 = field.parse().map_err(|_| {
                    format!("{metric} in line {} is no number: {field}", number(&record))
                })?;
                values.push(value);
            }
        }
        let scores = Scores::from_values(&metrics, values).map_err(|error| error.to_string())?;
        Ok(Self {
            images,
            classes,
            scores,
        })
    }
}

fn number(record: &StringRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

#[cfg(test)]
mod tests {
    use recall_eval::{Policy, PositiveRanks};

    use super::*;

    fn scores() -> Scores {
        let lists = [vec![1, 4], vec![], vec![3], vec![7, 9, 11]];
        let ranks = PositiveRanks::from_lists(&lists, vec![20; 4]).unwrap();
        let metrics = [Metric::RecallAt(1), Metric::Map, Metric::Mrr];
        Scores::new(&ranks, &metrics, Policy::default()).unwrap()
    }

    #[test]
    fn numbers_read_back_exactly() {
        let names = ["a, b.png", "left out", " \"c\"\n.png", "d"];
        let query = |query: usize| (names[query].to_owned(), format!("class {}", query % 2));
        let written = QueryScores::new(scores(), query);
        assert_eq!(written.images, ["a, b.png", " \"c\"\n.png", "d"]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.csv");
        written.write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "image,class,recall@1,map,mrr\n\
             \"a, b.png\",class 0,1,0.75,1\n\
             \" \"\"c\"\"\n.png\",class 0,0,0.3333333333333333,0.3333333333333333\n\
             d,class 1,0,0.2126022126022126,0.14285714285714285\n"
        );

        let read = QueryScores::read(&path).unwrap();
        assert_eq!(
            (&read.images, &read.classes),
            (&written.images, &written.classes)
        );
        assert_eq!(read.scores.queries(), [0, 1, 2]);
        assert_eq!(read.scores.metrics(), written.scores.metrics());
        for &metric in read.scores.metrics() {
            let bits = |of: &QueryScores| -> Vec<u64> {
                of.scores
                    .of(metric)
                    .unwrap()
                    .iter()
                    .map(|value| value.to_bits())
                    .collect()
            };
            assert_eq!(bits(&read), bits(&written), "{metric}");
        }
        assert_eq!(
            read.scores.evaluation().values,
            written.scores.evaluation().values
        );
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.csv");
        for (text, says) in [
            ("", "does not begin with image,class"),
            ("path,label\n", "does not begin with image,class"),
            ("image,class\na,b\n", "no metric"),
            ("image,class,mrr\n", "nothing to average"),
            ("image,class,nosuch\na,b,1\n", "unknown metric `nosuch`"),
            ("image,class,mrr\na,b\n", "line: 2"),
            (
                "image,class,mrr\na,b,1\nc,d,x\n",
                "mrr in line 3 is no number: x",
            ),
            ("image,class,mrr\na,b,7\n", "mrr of query 0 is 7"),
            ("image,class,mrr\na,b,NaN\n", "mrr of query 0 is NaN"),
        ] {
            fs::write(&path, text).unwrap();
            let message = QueryScores::read(&path).unwrap_err().to_string();
            assert!(
                message.contains("queries.csv: ") && message.contains(says),
                "{message}"
            );
        }
        let message = QueryScores::read(&dir.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("none"), "{message}");
    }
}
