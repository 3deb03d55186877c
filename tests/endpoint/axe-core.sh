#!/bin/sh
# Prints the path of axe-core's script, which finds what hinders people with disabilities. npm fetches
# it once, in one version with a checksum, and FOLDER keeps it.
#
#   tests/endpoint/axe-core.sh FOLDER
set -eu
version=4.14.1
sum=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5

folder=$1/axe-core-$version
if [ ! -e "$folder/package/axe.min.js" ]; then
    mkdir -p "$folder"
    cd "$folder"
    npm pack --silent "axe-core@$version" >/dev/null
    echo "$sum  axe-core-$version.tgz" | sha512sum --check --quiet
    tar -xzf "axe-core-$version.tgz" package/axe.min.js
fi
echo "$folder/package/axe.min.js"
