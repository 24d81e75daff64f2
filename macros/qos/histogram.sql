{#- A histogram out of a list of buckets: how many there are of each, in order, none of zero. -#}
{%- macro histogram(buckets) -%}
    transform(
        array_distinct(array_sort({{ buckets }})),
        bucket -> named_struct(
            'bucket', bucket,
            'count', cast(size(filter({{ buckets }}, other -> other = bucket)) as bigint)
        )
    )
{%- endmacro -%}
