<?php
// The article's ip.php, written from the article (its own script is not published): the same
// files, requests and effects. With a lock and a rename, which the article does not mention.
$folder = getenv("DDNS_FOLDER") ?: "/media/data/www/ramcache";
// The replay window. The benchmark makes it large, to sign its requests beforehand.
$window = getenv("DDNS_WINDOW") ?: 15;
// "nohup sudo service dnsmasq restart > /dev/null 2>&1 &" in the article; none in the benchmark.
$restart = getenv("DDNS_RESTART");

date_default_timezone_set("UTC");
header("Content-Type: text/plain");

function refuse($word) {
    http_response_code(403);
    exit("$word\n");
}

function replace($path, $contents) {
    file_put_contents("$path.tmp", $contents);
    rename("$path.tmp", $path);
}

foreach (array("user", "id", "timeST", "hash") as $name) {
    if (!isset($_REQUEST[$name]) || !is_string($_REQUEST[$name])) refuse("badrequest");
}
$user = $_REQUEST["user"];
$id = $_REQUEST["id"];
$time = $_REQUEST["timeST"];

$users = json_decode(file_get_contents("$folder/credentials.json"), true);
if (!isset($users[$user])) refuse("badauth");
$hash = sha1("$id\n$time\n" . $users[$user]["key"] . "\n");
if (!hash_equals($hash, $_REQUEST["hash"])) refuse("badauth");
if (!in_array($id, $users[$user]["id"])) refuse("nohost");
if (abs(time() - strtotime($time)) > $window) refuse("stale");

$lock = fopen("$folder/.ip.txt.lock", "c");
flock($lock, LOCK_EX);
$state = json_decode(file_get_contents("$folder/ip.txt"), true);
$address = $_SERVER["REMOTE_ADDR"];
$changed = !isset($state[$id]) || $state[$id]["ip"] !== $address;
$state[$id] = array("ip" => $address, "update" => $time);
replace("$folder/ip.txt", json_encode($state, JSON_PRETTY_PRINT));
if ($changed) {
    $hosts = "";
    foreach ($state as $name => $record) $hosts .= $record["ip"] . " $name\n";
    replace("$folder/hosts.dns", $hosts);
    if ($restart) exec($restart);
}
echo ($changed ? "good" : "nochg") . " $address\n";
