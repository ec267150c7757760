//! `/db`: mongo-express, for looking only.

use anyhow::{Result, ensure};
use mongodb::bson::{Document, doc};
use reqwest::Method;

use crate::droplet::compose::{Droplet, SIGN_IN};

pub(super) async fn reads_only(droplet: &Droplet<'_>) -> Result<()> {
    let client = droplet.client().await?;
    let (user, password) = SIGN_IN;
    let ask = async |method: Method, path: &str| -> Result<(u16, String)> {
        let answer = droplet
            .ask(&client, method, path)
            .basic_auth(user, Some(password))
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    };
    let (status, page) = ask(Method::GET, "/db/").await?;
    ensure!(
        status == 200 && page.contains("aesthetic"),
        "/db/ {status}: {page}"
    );
    let (status, page) = ask(Method::GET, "/db/db/aesthetic/").await?;
    ensure!(
        status == 200 && page.contains("moods"),
        "the collections, {status}: {page}"
    );
    let (status, page) = ask(Method::GET, "/db/db/aesthetic/moods?skip=10&sort[when]=-1").await?;
    ensure!(
        status == 200 && page.contains("mood"),
        "the documents, {status}: {page}"
    );
    let (status, page) = ask(Method::GET, "/db/db/aesthetic/%40handles").await?;
    ensure!(status == 200, "@handles, {status}: {page}");

    for (path, named) in [
        ("/db/", "sandbox allow-scripts allow-forms"),
        ("/db/public/css/style.css", "cross-origin"),
    ] {
        let answer = droplet
            .ask(&client, Method::GET, path)
            .basic_auth(user, Some(password))
            .send()
            .await?;
        ensure!(
            answer.status() == 200 && format!("{:?}", answer.headers()).contains(named),
            "{path} has no {named}: {answer:?}"
        );
    }

    let mongo = super::mongod::client(droplet, "mongo_reader").await?;
    let moods = mongo.database("aesthetic").collection::<Document>("moods");
    let count = async || moods.count_documents(doc! {}).await;
    let before = count().await?;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for path in [
            "/db/",
            "/db/db/aesthetic",
            "/db/db/aesthetic/moods",
            "/db/db/aesthetic/moods/%22x%22",
            "/db/checkValid",
        ] {
            let (status, _) = ask(method.clone(), path).await?;
            ensure!(status == 405, "{method} {path}: {status}");
        }
    }
    for path in [
        "/db/db/aesthetic/compact/moods",
        "/db/db/aesthetic/reIndex/moods",
        "/db/db/aesthetic/dropIndex/moods?name=when_1",
        "/db/db/aesthetic/DROPINDEX/moods?name=when_1",
        "/db/db/aesthetic/%64ropIndex/moods?name=when_1",
        "/db/db/aesthetic//dropIndex/moods?name=when_1",
        "/db/db/aesthetic/dropIndex%2Fmoods?name=when_1",
        "/db/db/aesthetic/export/moods",
        "/db/db/aesthetic/moods?command=deleteMany()",
        "/db/db/aesthetic/moods?command[]=deleteMany()",
        "/db/db/aesthetic/moods?%63ommand=drop()",
        "/db/db/aesthetic/moods?runAggregate=on&query=[{%22$out%22:%22x%22}]",
    ] {
        let (status, _) = ask(Method::GET, path).await?;
        ensure!(status == 403 || status == 400, "{path}: {status}");
    }
    ensure!(count().await? == before, "something was changed");
    Ok(())
}
