//! The page that sets runs side by side: a table and charts.

use minijinja::{Error, context};

use super::{Curve, ReportError, chart, templates};

/// Everything the page shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComparisonPage {
    /// The heading.
    pub title: String,
    /// What stands above the columns, that of the names included.
    pub columns: Vec<String>,
    /// A name and a cell for each of the other columns.
    pub rows: Vec<ComparisonRow>,
    /// Sentences below the table.
    pub notes: Vec<String>,
    /// What happened on the way, a chart each, with a line for each row of the table.
    pub curves: Vec<Curve>,
}

/// A row of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComparisonRow {
    /// What it is about.
    pub name: String,
    /// The lines of each cell.
    pub cells: Vec<Vec<String>>,
}

impl ComparisonPage {
    /// The page, a complete HTML document that needs nothing else.
    ///
    /// # Errors
    ///
    /// If the page's own template is at fault; no content causes one.
    pub fn render(&self) -> Result<String, ReportError> {
        self.page().map_err(ReportError)
    }

    fn page(&self) -> Result<String, Error> {
        let row = |(at, row): (usize, &ComparisonRow)| {
            let (colour, broken) = chart::colour(at);
            context! { name => &row.name, cells => &row.cells, colour, broken }
        };
        let of = context! {
            title => &self.title,
            columns => &self.columns,
            rows => self.rows.iter().enumerate().map(row).collect::<Vec<_>>(),
            notes => &self.notes,
            charts => self.curves.iter().map(chart::lay_out).collect::<Vec<_>>(),
        };
        templates::render("comparison.html", of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Series;
    use super::*;

    #[test]
    fn words_of_others_stay_words_and_nothing_is_loaded() {
        let evil = "\"><script>alert('x')</script>".to_owned();
        let line = Series {
            name: evil.clone(),
            points: vec![(0.0, 0.25), (1.0, 0.5)],
            parts: Vec::new(),
        };
        let page = ComparisonPage {
            title: evil.clone(),
            columns: vec![evil.clone(), evil.clone()],
            rows: vec![ComparisonRow {
                name: evil.clone(),
                cells: vec![vec![evil.clone(), evil.clone()]],
            }],
            notes: vec![evil.clone()],
            curves: vec![Curve {
                title: evil.clone(),
                x: evil.clone(),
                y: evil,
                series: vec![line.clone(), line],
                shares: true,
                marks: Vec::new(),
            }],
        };
        let page = page.render().unwrap();
        assert_eq!(page.matches("<script>").count(), 1, "the page's own");
        assert!(!page.contains("alert('x')"));
        assert!(!page.contains("http://") && !page.contains("https://"));
        assert!(page.contains("<svg viewBox") && page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn a_comparison_of_nothing_is_a_page() {
        let page = ComparisonPage::default().render().unwrap();
        assert!(page.trim_end().ends_with("</html>"));
    }
}
