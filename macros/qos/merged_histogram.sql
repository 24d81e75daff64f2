{#- The sum of a list of histograms. -#}
{%- macro merged_histogram(histograms) -%}
    transform(
        array_distinct(array_sort(transform(flatten({{ histograms }}), entry -> entry.bucket))),
        bucket -> named_struct(
            'bucket', bucket,
            'count', aggregate(
                filter(flatten({{ histograms }}), entry -> entry.bucket = bucket),
                cast(0 as bigint),
                (total, entry) -> total + entry.count
            )
        )
    )
{%- endmacro -%}
