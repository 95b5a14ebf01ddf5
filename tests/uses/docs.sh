make -C "$CHECKOUT" --old-file .venv/docs.installed BIN="$BIN" docs
test -s "$CHECKOUT/docs/_build/html/api.html"
cd "$CHECKOUT/docs/_build/html"
for page in $(find . -name "*.html" ! -name search.html); do
    test "$(grep -o "<h1" "$page" | wc -l)" = 1
    grep -q "Copyright &#169; The rl_abel authors" "$page"
done
sed "s/<[^>]*>//g" index.html | grep -q "pip install"
grep -q "_images/demo.png" index.html
