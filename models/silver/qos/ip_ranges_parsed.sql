{#- One row per bronze record of a range of addresses, typed: one that is no range says why. -#}
{{ config(materialized = 'view') }}

with

ranges_delivered as (

    select
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from {{ source('bronze_qos', 'ip_ranges') }}

),

records as (

    select
        *,
        from_json(
            data,
            'kind string, first string, last string, country string, as_number string,
            organisation string, valid_from string, source string, _unreadable string',
            map('columnNameOfCorruptRecord', '_unreadable')
        ) as record
    from ranges_delivered

),

fields as (

    select
        data,
        record is not null and record._unreadable is null as is_object,
        {{ supplied('record.kind') }} as kind,
        {{ full_date('record.valid_from') }} as valid_from,
        record.first as range_start,
        record.last as range_end,
        upper({{ supplied('record.country') }}) as country_code,
        try_cast({{ supplied('record.as_number') }} as bigint) as as_number,
        {{ supplied('record.organisation') }} as organisation,
        record.source,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from records

),

ip_ranges_parsed as (

    select
        kind,
        valid_from,
        range_start,
        range_end,
        country_code,
        as_number,
        organisation,
        source,
        case
            when not is_object then 'not_an_object'
            when coalesce(kind not in ('country', 'asn'), true) then 'unknown_kind'
            when valid_from is null then 'not_a_date'
            when
                not coalesce(range_start rlike '^([0-9a-f]{8}|[0-9a-f]{32})$', false)
                or not coalesce(range_end rlike '^([0-9a-f]{8}|[0-9a-f]{32})$', false)
                then 'not_an_address'
            when length(range_start) <> length(range_end) then 'of_two_protocols'
            when range_start > range_end then 'end_before_start'
            when kind = 'country' and country_code is null then 'missing_country'
            when kind = 'asn' and as_number is null then 'missing_as_number'
        end as reject_reason,
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from fields

)

select * from ip_ranges_parsed
