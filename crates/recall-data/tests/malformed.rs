//! Lists and tables in which bytes were changed, lost or added: read, or refused with a sentence that
//! names the file; never a panic.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use recall_data::DataSpec;

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    /// These places get these bytes.
    Change(Vec<(prop::sample::Index, u8)>),
    /// It ends here.
    Cut(prop::sample::Index),
    /// These bytes come in between.
    Insert(prop::sample::Index, Vec<u8>),
    /// This line comes a second time at the end.
    Repeat(prop::sample::Index),
    /// It is something else altogether.
    Replace(Vec<u8>),
}

/// Bytes that mean something to a reader of text, and any others.
fn bytes() -> impl Strategy<Value = u8> {
    prop_oneof![
        prop::sample::select(b" \t\n\r,\"/.-0129\0\xffe".to_vec()),
        any::<u8>()
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        prop::collection::vec((place(), bytes()), 1..6).prop_map(Damage::Change),
        place().prop_map(Damage::Cut),
        (place(), prop::collection::vec(bytes(), 1..30))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        place().prop_map(Damage::Repeat),
        prop::collection::vec(bytes(), 0..60).prop_map(Damage::Replace),
    ]
}

impl Damage {
    fn to(&self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        match self {
            Self::Change(changes) => {
                for (place, byte) in changes {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            Self::Cut(place) => bytes.truncate(place.index(good.len())),
            Self::Insert(place, new) => {
                let place = place.index(good.len());
                bytes.splice(place..place, new.iter().copied());
            }
            Self::Repeat(line) => {
                let lines: Vec<&[u8]> = good.split_inclusive(|&byte| byte == b'\n').collect();
                bytes.extend(lines[line.index(lines.len())]);
            }
            Self::Replace(new) => bytes.clone_from(new),
        }
        bytes
    }
}

/// A benchmark, its files, and in which of them the damage is.
type Layout = (&'static str, &'static [(&'static str, &'static str)]);

const LAYOUTS: &[Layout] = &[
    (
        "sop",
        &[
            (
                "Ebay_train.txt",
                "image_id class_id super_class_id path\n1 1 1 a/1.JPG\n2 1 1 a/2.JPG\n",
            ),
            (
                "Ebay_test.txt",
                "image_id class_id super_class_id path\n3 2 1 a/3.JPG\n",
            ),
        ],
    ),
    (
        "cub",
        &[
            ("images.txt", "1 001.Gull/1.jpg\n2 002.Tern/2.jpg\n"),
            ("image_class_labels.txt", "1 1\n2 2\n"),
            ("classes.txt", "1 001.Gull\n2 002.Tern\n"),
            ("bounding_boxes.txt", "1 60.0 27.0 325.0 304.0\n2 1 2 3 4\n"),
        ],
    ),
    (
        "inat2018",
        &[
            (
                "Inaturalist_train_set1.txt",
                "train_val2018/Aves/1/1.jpg\ntrain_val2018/Aves/2/2.jpg\n",
            ),
            ("Inaturalist_test_set1.txt", "train_val2018/Aves/3/3.jpg\n"),
        ],
    ),
    (
        "inshop",
        &[
            (
                "list_eval_partition.txt",
                "2\nimage_name item_id evaluation_status\nimg/1.jpg id_1 train\nimg/2.jpg id_2 query\n",
            ),
            (
                "list_bbox_inshop.txt",
                "1\nimage_name clothes_type pose_type x_1 y_1 x_2 y_2\nimg/1.jpg 1 1 50 49 208 235\n",
            ),
        ],
    ),
    (
        "vehicle-id",
        &[
            ("train_test_split/train_list.txt", "1 100\n2 100\n"),
            ("train_test_split/test_list_800.txt", "3 200\n4 200\n"),
            ("train_test_split/test_list_1600.txt", "3 200\n5 300\n"),
            ("train_test_split/test_list_2400.txt", "3 200\n6 400\n"),
            ("attribute/model_attr.txt", "100 5\n200 7\n"),
        ],
    ),
    (
        "gldv1",
        &[(
            "train.csv",
            "\"id\",\"url\",\"landmark_id\"\n\"0a\",\"http://a/b,c.jpg\",1\n\"1b\",\"None\",None\n\"2c\",\"\",2\n",
        )],
    ),
    (
        "gldv2",
        &[(
            "train_clean.csv",
            "landmark_id,images\n1,0123456789abcdef 1123456789abcdef\n27,2123456789abcdef\n",
        )],
    ),
    (
        "gldv2-retrieval",
        &[
            ("index.csv", "id\n0123456789abcdef\n1123456789abcdef\n"),
            (
                "retrieval_solution_v2.1.csv",
                "id,images,Usage\n2123456789abcdef,0123456789abcdef 1123456789abcdef,Public\n3123456789abcdef,None,Ignored\n",
            ),
        ],
    ),
    (
        "revisitop1m",
        &[("revisitop1m.txt", "1/0a.jpg\n2/1b.jpg\n")],
    ),
    (
        "csv",
        &[(
            "table.csv",
            "path,label,split,is_query,is_gallery,x_1,y_1,x_2,y_2\n1.jpg,a,train,,,1,2,3,4\n\
             2.jpg,b,test,True,False,,,,\n\"3,.jpg\",c,test,0,1,,,,\n",
        )],
    ),
];

fn spec(kind: &str, dir: &Path) -> DataSpec {
    let path = match kind {
        "csv" => dir.join("table.csv"),
        _ => dir.to_owned(),
    };
    format!("{kind}:{}", path.display()).parse().unwrap()
}

fn write(dir: &Path, path: &str, content: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn whole_files_are_read() {
    for (kind, files) in LAYOUTS {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in *files {
            write(dir.path(), path, content.as_bytes());
        }
        let dataset = spec(kind, dir.path()).index().unwrap();
        assert!(dataset.items().len() >= 2, "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_files_are_read_or_refused_by_name(
        layout in prop::sample::select(LAYOUTS),
        which in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let (kind, files) = layout;
        let damaged = which.index(files.len());
        let dir = tempfile::tempdir().unwrap();
        for (number, (path, content)) in files.iter().enumerate() {
            let bytes = content.as_bytes();
            if number == damaged {
                write(dir.path(), path, &damage.to(bytes));
            } else {
                write(dir.path(), path, bytes);
            }
        }
        if let Err(error) = spec(kind, dir.path()).index() {
            let message = error.to_string();
            prop_assert!(
                // What the files contradict each other about is told where it comes to light, and
                // items that are no data set by its name.
                files.iter().any(|(path, _)| message.contains(path)) || message.contains(kind),
                "{}", message
            );
            prop_assert!(!message.contains('\n'), "{}", message);
        }
    }
}
