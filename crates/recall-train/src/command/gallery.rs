//! Any images against any index of embeddings, as a page of pictures.

mod images;
mod index;
mod pictures;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use recall_data::{CorruptPolicy, DataSpec, ItemId};
use recall_eval::{Neighbour as Ranked, Retrieval, nearest};
use recall_report::{NEIGHBOURS, Neighbour, Picture, QueryRow, Report};
use serde::Deserialize;

use super::common::{BackboneArgs, open_checkpoint};
use super::origin::Origin;
use super::output::{self, ForceArg, Inputs};
use super::print::print;
use super::terminal::Terminal;
use super::whitening::WhiteningArgs;
use crate::config::{Boxes, Orientation};
use crate::judge::LabelledSet;
use crate::run::{Checkpoint, choice, missing, sentence};
use crate::{Found, Loading, NamedBackend, TrainedModel};
use index::Index;
use pictures::Pictures;

/// Options of a page of queries and their nearest neighbours.
#[derive(Debug, Args)]
pub(super) struct GalleryArgs {
    /// The embeddings to search in, as `embed` wrote them: NAME.npy or NAME.safetensors, the names of
    /// the images in NAME.txt and, where they are known, their classes in NAME.labels.npy.
    #[arg(long, value_name = "FILE")]
    index: PathBuf,
    /// The data set whose images the index names. Without it: that which NAME.json tells, that of the
    /// checkpoint, or emoji. Names that are not in it are taken for files.
    #[arg(long, value_name = "SPEC")]
    index_data: Option<DataSpec>,
    /// Images to search with: files, and folders with all that is in them. Without it: images of the
    /// index itself.
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "checkpoint")]
    images: Vec<PathBuf>,
    /// The folder of a run, or of one of its checkpoints: the model that made the index, for --images.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    whitening: WhiteningArgs,
    /// Neighbours of each query, at most 100.
    #[arg(long, value_name = "K", default_value_t = NEIGHBOURS)]
    neighbours: usize,
    /// Queries at most: spread evenly; of an index with classes, half of them the worst.
    #[arg(long, value_name = "N", default_value_t = 100)]
    count: usize,
    /// Where to write the page.
    #[arg(long, value_name = "FILE", default_value = "gallery.html")]
    output: PathBuf,
    #[command(flatten)]
    force: ForceArg,
    /// Where to compute: auto, cuda, wgpu, flex (CPU) or ndarray (CPU, slow reference).
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: NamedBackend,
    /// Threads that decode images; 0 takes one for each core. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Leave out images that cannot be read, and count them, instead of stopping at the first.
    #[arg(long)]
    skip_corrupt: bool,
    /// Print results only, no progress.
    #[arg(long)]
    quiet: bool,
}

/// Neighbours of a query that a page has room for.
const MOST_NEIGHBOURS: usize = 100;

/// Pictures that a page can hold and still be opened.
const MOST_PICTURES: usize = 20_000;

/// Queries with what they found in the index, and a sentence about which queries these are.
struct Searched {
    rows: Vec<QueryRow>,
    about: String,
}

impl GalleryArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        ensure!(self.neighbours > 0, "--neighbours must be at least 1");
        ensure!(
            self.neighbours <= MOST_NEIGHBOURS,
            "--neighbours {} is more than a page can show: give at most {MOST_NEIGHBOURS}",
            self.neighbours
        );
        ensure!(self.count > 0, "--count must be at least 1");
        let mut terminal = Terminal::new(self.quiet);
        let checkpoint = (self.checkpoint.as_deref())
            .map(open_checkpoint)
            .transpose()?
            .map(|checkpoint| self.backbone.of(checkpoint))
            .transpose()?;
        let images = match &self.images[..] {
            [] => Vec::new(),
            given => images::find(given)?,
        };
        self.check_output(&images, checkpoint.as_ref())?;
        let index = Index::open(&self.index, &mut terminal)?;
        let pictures = self.pictures(&index, checkpoint.as_ref(), &mut terminal)?;
        let searched = match (&self.images[..], &checkpoint) {
            ([_, ..], Some(checkpoint)) => {
                self.search_images(&index, &pictures, &images, checkpoint, &mut terminal)?
            }
            ([_, ..], None) => bail!("--images needs the model that made the index: --checkpoint"),
            ([], _) => self.search_index(&index, &pictures)?,
        };

        let queries = searched.rows.len();
        let missing = self.missing(&pictures);
        let report = self.page(&index, checkpoint.as_ref(), searched, missing.as_deref());
        output::write(&self.output, &report.render()?)?;
        print(&format!(
            "{queries} {} in {} images",
            match queries {
                1 => "query",
                _ => "queries",
            },
            index.searched.names().len()
        ))?;
        if let Some(missing) = &missing {
            print(missing)?;
        }
        print(&format!("gallery  {}", self.output.display()))
    }

    fn check_output(
        &self,
        images: &[PathBuf],
        checkpoint: Option<&Checkpoint>,
    ) -> anyhow::Result<()> {
        let mut inputs = Inputs::default();
        for file in Index::files(&self.index) {
            inputs.add("--index", &file);
        }
        for image in images {
            inputs.add("--images", image);
        }
        if let Some(checkpoint) = checkpoint {
            inputs.add("--checkpoint", checkpoint.path());
        }
        self.whitening.add_to(&mut inputs);
        if let Some(spec) = &self.index_data {
            inputs.add_spec("--index-data", spec);
        }
        self.force
            .check(std::slice::from_ref(&self.output), &inputs)
    }

    /// The data set of the checkpoint may be elsewhere today; only one that was asked for must be there.
    fn pictures(
        &self,
        index: &Index,
        checkpoint: Option<&Checkpoint>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Pictures> {
        let dataset = match &self.index_data {
            Some(spec) => Some(spec.index()?),
            None => {
                let of_index = index.origin.as_ref().map(|origin| &origin.data);
                let of_model = checkpoint.map(|checkpoint| &checkpoint.config.data);
                let spec = of_index.or(of_model).unwrap_or(&DataSpec::Emoji);
                spec.index()
                    .map_err(|error| {
                        terminal.say(&format!("names are taken for files, as {error}"));
                    })
                    .ok()
            }
        };
        // Turned and cut as they were when the index was made.
        let (boxes, orientation) = match (&index.origin, checkpoint) {
            (Some(origin), _) => (
                Boxes::deserialize(&origin.image["boxes"]).unwrap_or_default(),
                Orientation::deserialize(&origin.image["orientation"]).unwrap_or_default(),
            ),
            (None, Some(of)) => (of.config.image.boxes, of.config.image.orientation),
            (None, None) => Default::default(),
        };
        let dataset = dataset.map(|dataset| orientation.of(boxes.of(dataset)));
        Ok(Pictures::new(dataset, index.searched.names()))
    }

    /// How many pictures are not there, and what gives them.
    fn missing(&self, pictures: &Pictures) -> Option<String> {
        let what = match pictures.missing() {
            0 => return None,
            1 => "1 picture was not found and is shown as its name".to_owned(),
            many => format!("{many} pictures were not found and are shown as their names"),
        };
        let cure = match self.index_data {
            Some(_) => "neither the data set of --index-data nor a file of this name has it",
            None => "--index-data SPEC names the data set of the index, such as folder:photos",
        };
        Some(format!("{what}: {cure}"))
    }

    /// Before anything is searched, whether a browser could open the page.
    fn check_size(&self, queries: usize, index: &Index) -> anyhow::Result<()> {
        let queries = queries.min(self.count);
        let neighbours = self.neighbours.min(index.searched.names().len());
        let pictures = queries.saturating_mul(1 + neighbours);
        ensure!(
            pictures <= MOST_PICTURES,
            "{queries} queries with {neighbours} neighbours each are {pictures} pictures, and a page holds \
             at most {MOST_PICTURES}: lower --count or --neighbours"
        );
        Ok(())
    }

    fn search_images(
        &self,
        index: &Index,
        pictures: &Pictures,
        files: &[PathBuf],
        checkpoint: &Checkpoint,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Searched> {
        let device = self.backend.open()?;
        let model = TrainedModel::on(&*device, checkpoint.clone())?.loading(Loading {
            threads: self.threads,
            corrupt: match self.skip_corrupt {
                true => CorruptPolicy::Skip,
                false => CorruptPolicy::Error,
            },
        });
        let model = self.whitening.behind(model)?;
        self.check_model(index, &model, terminal)?;
        let (of_index, of_model) = (index.searched.embeddings().dim(), model.dim());
        ensure!(
            of_index == of_model,
            "the embeddings in {} have {of_index} numbers and those of the model in {} {of_model}: \
             write the index with the same checkpoint",
            self.index.display(),
            checkpoint.path().display(),
        );
        let given = files.len();
        self.check_size(given, index)?;
        let chosen = spread(given, self.count).map(|at| files[at].clone());
        let images = model.files(&chosen.collect::<Vec<_>>())?;
        let asked = images.items().len();
        let all: Vec<ItemId> = (0..asked).collect();
        terminal.count("embedding", asked);
        let (queries, kept) = model.embed_items(&images, &all, |done| {
            terminal.counted(done);
            Ok(())
        })?;
        terminal.counting_done();
        if let Some(unread) = sentence(missing(&images, &all, &kept)) {
            terminal.warn(&unread);
        }
        let found = index.searched.search(&queries, self.neighbours)?;
        let row = |(&id, found): (&ItemId, &Vec<Found<'_>>)| -> anyhow::Result<QueryRow> {
            let name = images.item(id)?.name.clone();
            Ok(QueryRow {
                query: Picture::of(images.pixels(id)?, name),
                neighbours: (found.iter())
                    .map(|found| Neighbour {
                        picture: pictures.of(found.row, found.name),
                        similarity: found.similarity,
                        relevant: None,
                    })
                    .collect(),
                first_hit_rank: None,
            })
        };
        Ok(Searched {
            rows: kept.iter().zip(&found).map(row).collect::<Result<_, _>>()?,
            about: match asked < given {
                true => format!("{asked} of the {given} images given, spread evenly."),
                false => "The images given.".to_owned(),
            },
        })
    }

    /// Similarities of embeddings from two models mean nothing, and do not look it.
    fn check_model(
        &self,
        index: &Index,
        model: &TrainedModel,
        terminal: &mut Terminal,
    ) -> anyhow::Result<()> {
        let (of_index, of_model) = (self.index.display(), model.checkpoint().path().display());
        let Some(origin) = &index.origin else {
            terminal.warn(&format!(
                "{of_index} does not say by which model it was embedded ({} is not there): if by another \
                 than that of {of_model}, what is found means nothing",
                Origin::path_beside(&self.index).display()
            ));
            return Ok(());
        };
        match origin.differs_from(model)? {
            None => Ok(()),
            Some(difference) => bail!(
                "{of_index} was embedded by another model than that of {of_model} ({difference}): give the \
                 checkpoint that embedded it, or embed it again with this one"
            ),
        }
    }

    fn search_index(&self, index: &Index, pictures: &Pictures) -> anyhow::Result<Searched> {
        self.check_size(index.searched.names().len(), index)?;
        let row = |query: usize, found: &[Ranked], rank, judged| QueryRow {
            query: pictures.of(query, &index.searched.names()[query]),
            neighbours: neighbours(pictures, index, found, judged),
            first_hit_rank: rank,
        };
        if let Some(labels) = index.labels.as_ref().filter(|labels| has_pairs(labels)) {
            let rows = (index.searched.embeddings().clone(), labels.clone());
            let set = LabelledSet::from_parts(rows, None);
            let ranks = set.retrieval()?.ranks()?;
            let hits = set.sample(&ranks, self.count, self.neighbours)?;
            let rows = hits.iter().map(|hit| {
                let found: Vec<Ranked> = hit.neighbours.iter().map(|(_, found)| *found).collect();
                row(hit.query, &found, hit.first_hit_rank, true)
            });
            return Ok(Searched {
                rows: rows.collect(),
                about: format!("Images of the index: {}.", choice(hits.len())),
            });
        }
        let count = index.searched.names().len();
        // Each is a class of its own: there are no right answers.
        let alone: Vec<i64> = (0..).take(count).collect();
        let retrieval = Retrieval::each_against_rest(index.searched.embeddings(), &alone)?;
        let queries: Vec<usize> = spread(count, self.count).collect();
        let found = nearest(&retrieval, &queries, self.neighbours)?;
        let rows = queries.iter().zip(&found);
        Ok(Searched {
            rows: rows
                .map(|(&query, found)| row(query, found, None, false))
                .collect(),
            about: match queries.len() < count {
                true => format!(
                    "{} of the images of the index, spread evenly.",
                    queries.len()
                ),
                false => "All images of the index.".to_owned(),
            },
        })
    }

    fn page(
        &self,
        index: &Index,
        checkpoint: Option<&Checkpoint>,
        searched: Searched,
        missing: Option<&str>,
    ) -> Report {
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        let mut facts = vec![
            ("index", self.index.display().to_string()),
            (
                "embeddings",
                format!(
                    "{} of {} numbers",
                    index.searched.names().len(),
                    index.searched.embeddings().dim()
                ),
            ),
        ];
        if let (Some(checkpoint), [_, ..]) = (checkpoint, &self.images[..]) {
            facts.push(("checkpoint", checkpoint.path().display().to_string()));
        }
        facts.push(("version", env!("CARGO_PKG_VERSION").to_owned()));
        Report {
            title: match &self.images[..] {
                [] => format!("Neighbours in {}", name(&self.index)),
                [only] => format!("{} in {}", name(only), name(&self.index)),
                _ => format!("{} images in {}", searched.rows.len(), name(&self.index)),
            },
            facts: facts
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            queries: searched.rows,
            about_queries: match missing {
                Some(missing) => format!("{} {missing}.", searched.about),
                None => searched.about,
            },
            ..Report::default()
        }
    }
}

/// What was found, with its pictures; whether it is right only where that is known.
fn neighbours(
    pictures: &Pictures,
    index: &Index,
    found: &[Ranked],
    judged: bool,
) -> Vec<Neighbour> {
    let neighbour = |found: &Ranked| Neighbour {
        picture: pictures.of(
            found.id as usize,
            &index.searched.names()[found.id as usize],
        ),
        similarity: found.similarity,
        relevant: judged.then_some(found.relevant),
    };
    found.iter().map(neighbour).collect()
}

/// At most `most` of `count` places, equally far apart.
fn spread(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most);
    (0..taken).map(move |at| at * count / taken)
}

/// Whether any class has two items, without which labels say nothing.
fn has_pairs(labels: &[i64]) -> bool {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_spread() {
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(3, 9).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 9).count(), 0);
    }

    #[test]
    fn labels_that_say_nothing() {
        assert!(has_pairs(&[3, 1, 3]));
        assert!(!has_pairs(&[3, 1, 2]) && !has_pairs(&[]));
    }
}
