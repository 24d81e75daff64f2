{#- What is known of addresses on a day: a row per (ip_key, valid_on) of `addresses` that a range
    of the kind covers, by the snapshot that was valid then. Of several ranges that do, the one that
    starts last counts, of those the shortest: of ranges within ranges that is the innermost.

    An equi-join on a prefix of the address: each stands under a few, each range under one length. -#}
{%- macro ip_lookup(addresses, kind) -%}
    select
        ip_key,
        valid_on,
        country_code,
        as_number,
        organisation
    from (
        select
            {{ addresses }}.ip_key,
            {{ addresses }}.valid_on,
            ranges.country_code,
            ranges.as_number,
            ranges.organisation,
            row_number() over (
                partition by {{ addresses }}.ip_key, {{ addresses }}.valid_on
                order by ranges.range_start desc, ranges.range_end
            ) as range_rank
        from (
            select
                {{ addresses }}.ip_key,
                {{ addresses }}.valid_on,
                snapshots.valid_from,
                explode(
                    case
                        {%- for version, digits in [(4, 8), (6, 32)] %}
                        when length({{ addresses }}.ip_key) = {{ digits }}
                            then
                                array(
                                    {%- for length in ip_buckets(version) %}
                                    left({{ addresses }}.ip_key, {{ length }}){{ ',' if not loop.last }}
                                    {%- endfor %}
                                )
                        {%- endfor %}
                    end
                ) as bucket
            from {{ addresses }}
            inner join (
                select
                    valid_from,
                    lead(valid_from, 1, date'9999-12-31') over (order by valid_from) as valid_to
                from (select distinct valid_from from {{ ref('ip_ranges') }} where kind = '{{ kind }}')
            ) as snapshots
                on
                    {{ addresses }}.valid_on >= snapshots.valid_from
                    and {{ addresses }}.valid_on < snapshots.valid_to
        ) as {{ addresses }}
        inner join {{ ref('ip_ranges') }} as ranges
            on
                {{ addresses }}.valid_from = ranges.valid_from
                and {{ addresses }}.bucket = ranges.bucket
                and {{ addresses }}.ip_key >= ranges.range_start
                and {{ addresses }}.ip_key <= ranges.range_end
        where ranges.kind = '{{ kind }}'
    )
    where range_rank = 1
{%- endmacro -%}
