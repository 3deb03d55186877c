//! The system of the article, to the byte.

use serde_json::json;

use crate::scene::{HOSTS, STATE, Scene};

/// The request as the article prints it.
const REQUEST: &str = "user=user1&id=host1.h.lohray.com&timeST=2012-06-14%2015:58:27&\
                       hash=2bd2a24f7c89869491bb9695aefda8da3daee00f";

/// The article's files, and a window that reaches back to its day.
fn scene_of_2012() -> Scene {
    let scene = Scene::new();
    scene.configure(&json!({"window": 10_000_000_000_u64}));
    scene
}

#[test]
fn the_articles_request_changes_the_stamp_and_nothing_else() {
    let scene = scene_of_2012();
    assert_eq!(scene.answer("129.118.243.10", REQUEST), "nochg 129.118.243.10");
    assert_eq!(scene.state(), STATE.replace("2012-04-20 20:45:59", "2012-06-14 15:58:27"));
    assert_eq!(scene.hosts(), HOSTS);
    assert!(scene.restarts().is_empty() && !scene.mark().exists());
}

#[test]
fn the_articles_request_from_a_new_address_moves_the_host() {
    let scene = scene_of_2012();
    assert_eq!(scene.answer("198.51.100.7", REQUEST), "good 198.51.100.7");
    scene.settle();
    let state = STATE.replace("2012-04-20 20:45:59", "2012-06-14 15:58:27");
    assert_eq!(scene.state(), state.replace("129.118.243.10", "198.51.100.7"));
    assert_eq!(scene.hosts(), HOSTS.replace("129.118.243.10", "198.51.100.7"));
    assert_eq!(scene.restarts().len(), 1);
}

#[test]
fn the_articles_hash_is_with_the_last_line_feed() {
    let scene = scene_of_2012();
    let files = scene.files();
    let without =
        <sha1::Sha1 as sha1::Digest>::digest("host1.h.lohray.com\n2012-06-14 15:58:27\nsecretkey1");
    let (head, _) = REQUEST.rsplit_once('=').unwrap();
    let answer = scene.answer("129.118.243.10", &format!("{head}={}", hex::encode(without)));
    assert_eq!(answer, "badauth");
    assert_eq!(scene.files(), files);
}

#[test]
fn the_articles_request_is_stale_today() {
    let scene = Scene::new();
    let answer = scene.answer("129.118.243.10", REQUEST);
    let seconds: i64 = answer.strip_prefix("stale ").unwrap().parse().unwrap();
    assert!(seconds < -400_000_000, "{answer}");
}
