{#- A quantile out of a histogram, in ms: the middle of the bucket in which it lies, so within
    2.5 % of the quantile of the durations themselves. Null of an empty one. -#}
{%- macro histogram_quantile(histogram, share) -%}
    exp((
        get(
            filter(
                {{ histogram }},
                entry -> aggregate(
                    filter({{ histogram }}, other -> other.bucket <= entry.bucket),
                    cast(0 as bigint),
                    (total, other) -> total + other.count
                ) >= {{ share }} * aggregate(
                    {{ histogram }},
                    cast(0 as bigint),
                    (total, other) -> total + other.count
                )
            ),
            0
        ).bucket + 0.5
    ) / 20)
{%- endmacro -%}
