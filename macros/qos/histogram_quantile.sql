{#- The bucket that a quantile lies in, of the entries of one histogram or several. -#}
{%- macro histogram_quantile(entries, quantile) -%}
    aggregate(
        array_sort({{ entries }}),
        named_struct(
            'total', aggregate({{ entries }}, 0L, (counted, other) -> counted + other.count),
            'counted', 0L,
            'bucket', cast(null as int)
        ),
        (reached, entry) -> named_struct(
            'total', reached.total,
            'counted', reached.counted + entry.count,
            'bucket', case
                when
                    reached.bucket is null
                    and reached.counted + entry.count >= {{ quantile }} * reached.total
                    then entry.bucket
                else reached.bucket
            end
        ),
        reached -> reached.bucket
    )
{%- endmacro -%}
