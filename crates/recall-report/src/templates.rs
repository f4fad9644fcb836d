//! The templates of pages and figures, and what they share.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, Value, context};

/// The styles of what is drawn.
const DRAWN: &str = include_str!("chart.css");

/// Fills a template.
pub(super) fn render(name: &str, of: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // What names that end in .html or .xml are given is escaped.
    for (name, text) in [
        ("page.html", include_str!("page.html")),
        ("comparison.html", include_str!("comparison.html")),
        ("chart.html", include_str!("chart.html")),
        ("drawing.html", include_str!("drawing.html")),
        ("distribution.html", include_str!("distribution.html")),
        ("queries.html", include_str!("queries.html")),
        ("curve.svg.xml", include_str!("curve.svg")),
        ("intervals.svg.xml", include_str!("intervals.svg")),
    ] {
        environment.add_template(name, text)?;
    }
    let as_it_is = |text: &str| Value::from_safe_string(text.to_owned());
    environment.get_template(name)?.render(context! {
        style => as_it_is(concat!(include_str!("chart.css"), include_str!("page.css"))),
        drawn => as_it_is(DRAWN),
        script => as_it_is(include_str!("page.js")),
        ..of
    })
}
